import type { DproxyError } from '../../base/errors.js'
import { count } from '../../base/text.js'
import type { HostDefinition } from '../../control/messages.js'
import type { EventLog } from '../event-log.js'
import type { Link } from '../link/link.js'
import type { LinkState } from '../link/link-status.js'
import { sentence } from './words.js'

/** What one host writes to the log. */
export class HostLog {
  readonly #log: EventLog
  readonly #name: string
  readonly #socket: string
  /** The state of the link that was written last. */
  #state: LinkState | undefined

  constructor(log: EventLog, { name, socket }: Pick<HostDefinition, 'name' | 'socket'>) {
    this.#log = log
    this.#name = name
    this.#socket = socket
  }

  info(message: string): void {
    this.#log.info(this.#name, message)
  }

  listening(): void {
    this.info(`listening on ${this.#socket}`)
  }

  draining(streams: number): void {
    if (streams > 0) this.info(`draining ${count(streams, 'stream')}`)
  }

  stopped({ removed, cut }: { removed: boolean; cut: number }): void {
    const gone = removed ? `; ${this.#socket} is removed` : ''
    this.info(`stopped${gone}${cut > 0 ? `; ${count(cut, 'stream')} cut` : ''}`)
  }

  streamFailed(id: string, { message }: DproxyError): void {
    this.#log.warn(this.#name, `stream ${id}: ${message}`)
  }

  /** Somebody deleted the socket: it was made again, or could not be. */
  socketDeleted(lost: DproxyError | undefined): void {
    if (lost) this.#log.error(this.#name, sentence(lost, ''))
    else this.#log.warn(this.#name, `somebody had deleted ${this.#socket}: it is there again`)
  }

  /** A line for each new state that is worth one. `ssh`: where the link leads to. */
  link({ state, lastError, engine }: Pick<Link, 'state' | 'lastError' | 'engine'>, ssh: string): void {
    if (state === this.#state) return
    this.#state = state
    const name = this.#name
    if (state === 'up') this.info(`up: ${ssh}, Docker ${engine?.version ?? '?'}`)
    if (state === 'retrying') this.#log.warn(name, sentence(lastError?.error, 'not connected'))
    if (state === 'failed') this.#log.error(name, sentence(lastError?.error, 'failed'))
  }
}
