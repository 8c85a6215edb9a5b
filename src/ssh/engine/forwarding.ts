/** How a stream gets from sshd to the engine's socket. */
export interface Forwarding {
  /** `streamlocal`: by sshd itself; else the command there that connects its input and output to the socket. */
  readonly method: 'streamlocal' | 'docker system dial-stdio' | 'socat' | 'nc'
  /** Why it is not sshd itself, as a clause; null: it is. */
  readonly why: string | null
}

export const STREAMLOCAL: Forwarding = { method: 'streamlocal', why: null }
