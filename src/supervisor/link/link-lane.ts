import type { Duplex } from 'node:stream'

export interface KeepAlive {
  /** Silence after which the server is asked for a sign of life, milliseconds. */
  readonly intervalMs: number
  /** Unanswered questions in a row after which the link counts as dead. */
  readonly misses: number
}

/** Who speaks SSH, and why it is not dproxy itself. */
export interface Transport {
  readonly kind: 'ssh2' | 'openssh'
  readonly why: string | null
}

/** How streams get from sshd to the engine's socket, and why it is not sshd itself. */
export interface Forwarding {
  readonly method: 'streamlocal' | 'docker system dial-stdio' | 'socat' | 'nc'
  readonly why: string | null
}

/** What a link needs of an SSH connection, or of several as one; `EngineLane` of src/ssh is one. */
export interface LinkLane {
  /**
   * Aborts with a DproxyError when the connection is over, before its streams are destroyed; each of them then
   * fails with that error.
   */
  readonly lost: AbortSignal
  /** Milliseconds since the server last sent a byte. */
  readonly silentMs: number
  /** The last measured round trip in milliseconds; null before the first. */
  readonly rttMs: number | null
  readonly openStreams: number
  /** How many SSH connections it is; one where undefined. */
  readonly lanes?: number
  /** The limit of each question to the other side, milliseconds. */
  readonly connectTimeoutMs: number
  /** When silence means that the link is dead. */
  readonly keepAlive: KeepAlive
  readonly transport: Transport
  /** The engine's socket on the remote machine; null while it has to be found. */
  readonly remoteSocket: string | null
  readonly forwarding: Forwarding | null
  /**
   * Opens one stream to the engine. It fails with an error when it is cut, and ends only where the engine has
   * ended it: a client is told the difference.
   */
  openStream(signal: AbortSignal): Promise<Duplex>
  ping(limitMs: number, signal: AbortSignal): Promise<number>
  close(reason?: string): void
  /** `listener` hears how many streams are about to be destroyed while others go on, before they are. */
  onCut?(listener: (streams: number) => void): void
  /** Resolves when nothing that the connection stood on is left, processes above all; at once where undefined. */
  readonly gone?: Promise<void>
}
