import { EventEmitter } from 'node:events'
import { dirname } from 'node:path'
import { pino, type Logger } from 'pino'
import type { LogEntry } from '../control/messages.js'
import { makeDirs } from '../base/private-dir.js'
import { LogFile } from './log-file.js'

const REMEMBERED = 1000

type Level = LogEntry['level']

/**
 * What the supervisor did: one JSON line an event, to a file of bounded size or to a stream, and the last
 * thousand in memory for `dproxy logs`. Never bytes of streams, never secrets.
 */
export class EventLog {
  readonly #logger: Logger
  readonly #close: () => Promise<void>
  readonly #events = new EventEmitter<{ entry: [LogEntry] }>().setMaxListeners(0)
  readonly #remembered: LogEntry[] = []

  private constructor(logger: Logger, close: () => Promise<void>) {
    this.#logger = logger
    this.#close = close
  }

  /** Writes to the file `path`, whose directory is made if needed. */
  static async toFile(path: string): Promise<EventLog> {
    await makeDirs(dirname(path))
    const file = new LogFile(path)
    return new EventLog(pino(PINO_OPTIONS, file), () => file.close())
  }

  /** Writes nowhere but to its subscribers. */
  static inMemory(): EventLog {
    return new EventLog(pino({ ...PINO_OPTIONS, enabled: false }), async () => undefined)
  }

  debug(host: string | null, message: string): void {
    this.#write('debug', host, message)
  }
  info(host: string | null, message: string): void {
    this.#write('info', host, message)
  }
  warn(host: string | null, message: string): void {
    this.#write('warn', host, message)
  }
  error(host: string | null, message: string): void {
    this.#write('error', host, message)
  }

  /** The entries still remembered, oldest first. */
  recent(): readonly LogEntry[] {
    return this.#remembered
  }

  /** Hears every entry from now on; the returned function ends that. */
  subscribe(listener: (entry: LogEntry) => void): () => void {
    this.#events.on('entry', listener)
    return () => void this.#events.off('entry', listener)
  }

  /** Resolves when everything is written. */
  async close(): Promise<void> {
    await this.#close()
  }

  #write(level: Level, host: string | null, message: string): void {
    const entry: LogEntry = { time: new Date().toISOString(), level, host, message }
    this.#remembered.push(entry)
    if (this.#remembered.length > REMEMBERED) this.#remembered.shift()
    this.#logger[level]({ host, message })
    this.#events.emit('entry', entry)
  }
}

// The file holds the same fields as a LogEntry, so that one reader serves both.
const PINO_OPTIONS = {
  base: null,
  level: 'debug',
  messageKey: 'message',
  timestamp: () => `,"time":"${new Date().toISOString()}"`,
  formatters: { level: (label: string) => ({ level: label }) },
}
