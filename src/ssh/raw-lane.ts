import type { Duplex } from 'node:stream'
import type { Resolved } from './target.js'

/** One SSH connection, logged in, whoever speaks SSH: {@link Lane} and {@link OpensshLane} are two. */
export interface RawLane {
  readonly resolved: Resolved
  /** Aborts, with a DproxyError as its reason, when the connection is over, before its streams are destroyed. */
  readonly lost: AbortSignal
  /** Milliseconds since the server last sent a byte. */
  readonly silentMs: number
  /** The last measured round trip in milliseconds; null before the first. */
  readonly rttMs: number | null
  readonly openStreams: number
  readonly transport: { readonly kind: 'ssh2' | 'openssh'; readonly why: string | null }
  /** Resolves when nothing that the connection stood on is left; at once where undefined. */
  readonly gone?: Promise<void>
  /**
   * Opens one stream to the Unix socket `path` on the remote machine (direct-streamlocal@openssh.com).
   * @throws DproxyError LINK_LOST, FORWARDING_FORBIDDEN, or ENGINE_* with what is wrong at the remote end
   */
  openStream(path: string, signal: AbortSignal): Promise<Duplex>
  /**
   * Keeps one idle stream to `path` from now on, which counts for nothing: it shows whether the server cuts streams
   * through which nothing goes. To be called before the first client's stream.
   */
  keepCanary?(path: string): void
  /**
   * Runs a command. No shell string is ever built from config: what differs goes to its input.
   * @throws ExecRefused, or DproxyError LINK_LOST
   */
  exec(command: string, signal: AbortSignal): Promise<RemoteCommand>
  ping(limitMs: number, signal: AbortSignal): Promise<number>
  close(reason?: string): void
}

/** A command that runs on the remote machine (RFC 4254 section 6.5). */
export interface RemoteCommand {
  /** Its input and output. That it ends says nothing of how the command did. */
  readonly stream: Duplex
  /** How it ended: its exit code, or the signal that ended it (`SIGKILL`), or null when the server never said. */
  readonly exit: Promise<number | string | null>
  /** The last that it said on its error output, at most 4 KiB; not cleaned. */
  readonly complaint: () => string
  /** `hear` is called whenever it has said more there. */
  readonly onComplaint: (hear: () => void) => void
}

/** The server runs no command for us: it opens no session (any more), or does not start the command. */
export class ExecRefused extends Error {
  /** No session was opened, as sshd does beyond MaxSessions; else it was, and the command refused. */
  readonly noSession: boolean

  constructor(said: string, noSession: boolean, cause?: unknown) {
    super(said, { cause })
    this.noSession = noSession
  }
}

/** Keeps the end of what is said. */
export class Complaint {
  #said = ''
  #listener: () => void = () => undefined

  readonly hear = (bytes: Buffer): void => {
    this.#said = (this.#said + bytes.toString('utf8')).slice(-LONGEST_COMPLAINT)
    this.#listener()
  }

  readonly read = (): string => this.#said

  readonly listen = (hear: () => void): void => {
    this.#listener = hear
  }
}

const LONGEST_COMPLAINT = 4096
