import type { Socket } from 'node:net'
import { DproxyError } from '../base/errors.js'
import { openFilesLimit } from './open-files.js'

// Clients that are told at the same time why they are turned away; each holds a descriptor while it is.
const MOST_ANSWERED = 16
// What is opened for a moment, whatever the number of hosts: those answers, the log's next file, four files or
// name lookups at once (Node's threads), command lines at the control socket.
const RESERVE = MOST_ANSWERED + 32
// What a host opens to log in again: the new connection beside the old one, the agent, and the pipes of `ssh -G`,
// of a ProxyCommand or of `ssh` itself.
const RESERVE_OF_HOST = 8

/** What becomes of a client: served, told that there are too many, or closed without a word. */
export type Admission = 'served' | 'answered' | 'closed'

/**
 * The file descriptors of a process, which all its proxies share. At the limit the system accepts clients and
 * libuv closes them again without any event (uv__emfile_trick), so that nobody could count them; and neither a
 * file nor a connection can be opened. Clients are therefore turned away while some are left.
 */
export class Descriptors {
  readonly #limit: number
  readonly #clients = new Set<Socket>()
  #hosts = 0
  #answered = 0

  /** `limit`: how many the process may have open. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Keeps some for one more host, until the returned function is called. */
  reserve(): () => void {
    this.#hosts += 1
    return () => void (this.#hosts -= 1)
  }

  admit(client: Socket): Admission {
    this.#clients.add(client)
    client.once('close', () => this.#clients.delete(client))
    if (this.#leavesEnough(client)) return 'served'
    if (this.#answered >= MOST_ANSWERED) return 'closed'
    this.#answered += 1
    client.once('close', () => (this.#answered -= 1))
    return 'answered'
  }

  /** What a client is told that is turned away. */
  tooMany(): DproxyError {
    return new DproxyError(
      'TOO_MANY_CLIENTS',
      `${this.#clients.size} clients are open and this process may open ${this.#limit} files`,
      { stage: 'socket', hint: 'raise it with `ulimit -n`, or LimitNOFILE= of its service' },
    )
  }

  /** How many are kept back for what is not a client. */
  get kept(): number {
    return Math.min(RESERVE + RESERVE_OF_HOST * this.#hosts, this.#limit / 2)
  }

  /**
   * The kernel gives the lowest free number (POSIX, "File Descriptor Allocation"): all below it are in use, by
   * whomever, and clients never take those above the reserve's beginning.
   */
  #leavesEnough(client: Socket): boolean {
    return (numberOf(client) ?? 0) < this.#limit - this.kept
  }
}

/** A socket's file descriptor, which Node has but does not document; undefined where it has none. */
const numberOf = (socket: Socket): number | undefined =>
  (socket as { readonly _handle?: { readonly fd?: number } | null })._handle?.fd

let shared: Descriptors | undefined

export const descriptorsOfThisProcess = (): Descriptors => (shared ??= new Descriptors(openFilesLimit()))
