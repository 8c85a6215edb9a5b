import { runRecordPath, type Env } from '../../base/paths.js'
import { readRunRecord, type RunRecord } from '../../control/run-record.js'
import type { EventLog } from '../event-log.js'
import { Crashes, MOST_CRASHES, sentenceOf } from './crashes.js'
import { isSupervisor } from './other-supervisor.js'
import { RecordFile } from './record-file.js'

interface KeeperOptions {
  readonly pid: number
  readonly version: string
  readonly log: EventLog
}

/** Keeps what a supervisor runs where the next one finds it, should this one crash. */
export class Keeper {
  readonly #options: KeeperOptions
  readonly #file: RecordFile
  readonly #env: Env
  #found: RunRecord | undefined
  #crashes = new Crashes()
  #isRead = false
  #hosts: RunRecord['hosts'] = []
  /** Not running again yet: they are not forgotten when we crash before they do. */
  #missing: RunRecord['hosts'] = []

  constructor(env: Env, options: KeeperOptions) {
    this.#env = env
    this.#options = options
    this.#file = new RecordFile(runRecordPath(env))
  }

  /** Reads what the last supervisor left behind. Before anything is served: a crash must not come over it. */
  async read(): Promise<void> {
    this.#found = await readRunRecord(this.#env)
    if (this.#found && !this.#found.gaveUp) this.#crashes = new Crashes(this.#found.crashes)
    this.#missing = this.#restorable()
    this.#hosts = this.#missing
    this.#isRead = true
  }

  /** The hosts that a supervisor ran that has crashed; none where the last one was stopped, killed, or gave up. */
  begin(): RunRecord['hosts'] {
    if (this.#missing.length > 0)
      this.#options.log.warn(null, `the supervisor before this one crashed: ${this.#found?.crash ?? ''}`)
    return this.#missing
  }

  /** Those hosts run again, or cannot. */
  begun(): void {
    this.#missing = []
  }

  keep(hosts: RunRecord['hosts']): void {
    const names = new Set(hosts.map(({ definition }) => definition.name))
    this.#hosts = [...hosts, ...this.#missing.filter(({ definition }) => !names.has(definition.name))]
    this.saveAgain()
  }

  /** Writes it once more: the file may have been deleted. */
  saveAgain(): void {
    this.#file.save(this.#record(null))
  }

  /**
   * Writes down that we have crashed over `failure`; false when nobody is to go on in our place: it happened too
   * often, or no host is left to be served.
   */
  async crashed(failure: unknown): Promise<boolean> {
    const { log } = this.#options
    // One that cannot even begin does not begin again.
    if (!this.#isRead || this.#hosts.length === 0) return false
    this.#crashes.add()
    const record = this.#record(sentenceOf(failure))
    this.#file.saveForGood(record)
    // What was on its way to the disk may have come over it.
    await this.#file.settled()
    this.#file.saveForGood(record)
    if (!this.#crashes.areTooMany) return true
    log.error(null, `gave up after ${MOST_CRASHES} crashes within a minute: ${sentenceOf(failure)}`)
    return false
  }

  /** Nothing runs any more, as it should be. What another supervisor keeps there is left alone. */
  async forget(): Promise<void> {
    await this.#file.settled()
    const found = await readRunRecord(this.#env)
    if (found && found.pid !== this.#options.pid && (await isSupervisor(found.pid))) return
    await this.#file.remove()
  }

  #restorable(): RunRecord['hosts'] {
    if (!this.#found || this.#found.crash === null || this.#found.gaveUp) return []
    // One that was to follow it at once never came: nobody waits for these hosts any more.
    return this.#crashes.lately.length > 0 ? this.#found.hosts : []
  }

  #record(crash: string | null): RunRecord {
    const { pid, version } = this.#options
    const gaveUp = crash !== null && this.#crashes.areTooMany
    return { pid, version, hosts: [...this.#hosts], crashes: [...this.#crashes.lately], crash, gaveUp }
  }
}
