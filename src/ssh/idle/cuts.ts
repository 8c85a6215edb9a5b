import type { Duplex } from 'node:stream'
import { formatDuration } from '../../base/duration.js'
import { DproxyError } from '../../base/errors.js'
import { where, type Resolved } from '../target.js'
import { Canary } from './canary.js'
import { between, IdleWatch, type End, type Judge } from './watch.js'

/** What is asked of a connection to find out which of its streams the server has cut. */
export interface IdleCutsOptions {
  readonly resolved: Resolved
  /** What the server says it runs, as `OpenSSH_9.2p1`; null: not known. */
  readonly software: () => string | null
  readonly rttMs: () => number | null
  /** As {@link Judge.answered}. */
  readonly answer: () => Promise<unknown>
}

/** Finds out, for the streams of one connection, which of them the server has cut for being idle. */
export class IdleCuts {
  readonly #options: IdleCutsOptions
  #canary: Canary | undefined
  #answer: Promise<unknown> | undefined

  constructor(options: IdleCutsOptions) {
    this.#options = options
  }

  /** For a new stream of this type (RFC 4254 section 5.1). */
  watch(type: string): IdleWatch {
    // A command's end is always followed by a CLOSE; that it says how it ended tells it from a cut.
    if (type === 'session') return new IdleWatch()
    const { software, rttMs } = this.#options
    const judge: Judge = {
      get mayCut() {
        return cutsIdleStreams(software())
      },
      get rttMs() {
        return rttMs()
      },
      answered: this.#answered,
      cutBy: (end) => this.#cutBy(type, end),
    }
    return new IdleWatch(judge)
  }

  /** Keeps a stream that `open` opens idle from now on, where the server may cut such; see {@link Canary}. */
  keepCanary(open: (watch: IdleWatch) => Promise<Duplex>): void {
    if (!cutsIdleStreams(this.#options.software())) return
    this.#canary ??= new Canary({ open, answered: this.#answered })
  }

  /** To be called before a client's stream is opened. */
  beforeStream(): void {
    this.#canary?.keep()
  }

  /** The stream that nobody but we ourselves have opened. */
  get canary(): Duplex | undefined {
    return this.#canary?.stream
  }

  // An answer that is under way is still to come, and with it all that the server sent before.
  readonly #answered = (): Promise<unknown> => {
    this.#answer ??= this.#options.answer().finally(() => {
      this.#answer = undefined
    })
    return this.#answer
  }

  #cutBy(type: string, end: End): DproxyError | undefined {
    const told = this.#canary?.tells(end) ?? 'nothing'
    if (told === 'whole' || (told === 'nothing' && end.afterOurs)) return undefined
    return cutForIdleness(this.#options.resolved, type, between(end.quietSince, end.at))
  }
}

/** ChannelTimeout came with OpenSSH 9.2, and no other server is known to cut single streams. */
export const cutsIdleStreams = (software: string | null): boolean => {
  if (software === null) return true
  const [, major, minor] = /^OpenSSH\D*(\d+)\.(\d+)/u.exec(software) ?? []
  if (major === undefined) return false
  return Number(major) > 9 || (Number(major) === 9 && Number(minor) >= 2)
}

const cutForIdleness = (resolved: Resolved, type: string, idleMs: number): DproxyError =>
  new DproxyError(
    'LINK_LOST',
    `sshd on ${where(resolved)} cut a stream through which nothing had gone for ${formatDuration(idleMs)} (ChannelTimeout)`,
    {
      hint: `let ChannelTimeout in sshd_config there begin with ${type}=0, or allow more time than any command is silent`,
    },
  )
