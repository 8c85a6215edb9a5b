import type { Stage } from '../../base/errors.js'
import { printable } from '../../base/text.js'
import { oneLine } from '../greeting.js'

const LONGEST_LINE = 2000
const MOST_LINES = 60

// What ssh sums up at LogLevel VERBOSE and above.
const NO_CAUSE = /^(?:Transferred: |Bytes per second: |Authenticated to |Exit status )/u

/**
 * What `ssh` says on stderr at LogLevel DEBUG1, reduced to what it means. Part of it is the server's word (its
 * banner, why it hung up), and anything on the way may speak there too: it tells people causes, and decides
 * nothing that matters to safety.
 */
export class SshLog {
  /** The last lines said that are no debug messages, oldest first, fit to print. */
  readonly lines: string[] = []
  stage: Stage = 'connect'
  /** The server has introduced itself: whatever lies on the way there works. */
  serverSpoke = false
  /** What the server says it runs, as `OpenSSH_9.2p1`. */
  software: string | null = null
  /** What the server said before it introduced itself, or instead. */
  greeting = ''
  /** Type and fingerprint of the key that the server showed, as ssh prints it. */
  hostKey: string | null = null
  /** What the server takes to log in, as it last said. */
  methods: string | null = null
  /** The file of a key that the server would take, from when it said so until the login goes on. */
  acceptedKey: string | null = null
  /** Files of keys whose public half is not known, so that they must be unlocked to be tried. */
  readonly locked: string[] = []
  readonly #onStage: (stage: Stage) => void
  #partial = ''

  /** `onStage` hears each stage as it begins; `connect` again for each address. */
  constructor(onStage: (stage: Stage) => void) {
    this.#onStage = onStage
  }

  readonly hear = (chunk: Buffer): void => {
    const lines = (this.#partial + chunk.toString('utf8')).split('\n')
    this.#partial = (lines.pop() ?? '').slice(0, LONGEST_LINE)
    for (const line of lines) this.#take(line.replace(/\r$/u, '').slice(0, LONGEST_LINE))
  }

  /** The last line, which names the cause more often than not. */
  get lastLine(): string | null {
    return this.lines.at(-1) ?? null
  }

  #take(line: string): void {
    const debug = /^debug\d: (.*)$/u.exec(line)?.[1]
    if (debug !== undefined) return this.#note(debug)
    if (line.trim() === '' || NO_CAUSE.test(line)) return
    this.lines.push(printable(line))
    if (this.lines.length > MOST_LINES) this.lines.shift()
  }

  #note(said: string): void {
    if (/^Connecting to |^Executing proxy command/u.test(said)) return this.#enter('connect')
    if (said.startsWith('Connection established')) return this.#enter('host key')
    if (said.startsWith('Remote protocol version')) {
      this.serverSpoke = true
      this.software = /remote software version (\S+)/u.exec(said)?.[1] ?? null
      return this.#enter('host key')
    }
    const [, greeting] = /^(?:kex|ssh)_exchange_identification: (?:banner line \d+: )?(.*)$/u.exec(said) ?? []
    if (greeting !== undefined) this.greeting = oneLine(`${this.greeting} ${greeting}`)
    if (said.startsWith('SSH2_MSG_SERVICE_ACCEPT received')) return this.#enter('login')
    const [, key] = /^Server host (?:key|certificate): (\S+ \S+)/u.exec(said) ?? []
    if (key !== undefined) this.hostKey = printable(key)
    const [, methods] = /^Authentications that can continue: (.*)$/u.exec(said) ?? []
    if (methods !== undefined) {
      this.methods = printable(methods)
      this.acceptedKey = null
    }
    const [, accepted] = /^Server accepts key: (.*?) \S+ SHA256:/u.exec(said) ?? []
    if (accepted !== undefined) this.acceptedKey = printable(accepted)
    const [, locked] = /^Trying private key: (.*)$/u.exec(said) ?? []
    if (locked !== undefined) this.locked.push(printable(locked))
    return undefined
  }

  #enter(stage: Stage): void {
    if (this.stage === stage && stage !== 'connect') return
    this.stage = stage
    this.#onStage(stage)
  }
}
