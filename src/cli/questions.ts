import pLimit from 'p-limit'
import type { Question } from '../control/messages.js'
import { askOnTerminal } from './ask-on-terminal.js'
import type { Io } from './io.js'

/** Gives an answer to the supervisor; null declines. */
export type Answer = (questionId: string, answers: readonly string[] | null) => Promise<void> | void

/** What is drawn on the terminal must make room while a person types. */
export interface Canvas {
  pause(): void
  resume(): void
}

interface Asked {
  readonly host: string
  readonly question: Question
}

/**
 * Asks the person at the terminal what the logins of hosts wait for: one question at a time, each once, and
 * none that somebody else has answered meanwhile.
 */
export class Questioner {
  readonly #io: Io
  readonly #answer: Answer
  readonly #canvas: Canvas
  readonly #one = pLimit(1)
  /** The questions seen last, each with what takes it back, and when it has left the screen. */
  readonly #open = new Map<string, { readonly taken: AbortController; readonly left: Promise<void> }>()

  constructor(io: Io, answer: Answer, canvas: Canvas) {
    this.#io = io
    this.#answer = answer
    this.#canvas = canvas
  }

  /**
   * Looks at all hosts that this command is about, as they are now. Resolves when what is not asked any more has
   * left the screen.
   */
  async see(hosts: readonly { readonly name: string; readonly question: Question | null }[]): Promise<void> {
    if (!this.#io.ask) return
    const now = new Map<string, Asked>()
    for (const { name, question } of hosts) if (question) now.set(question.id, { host: name, question })
    const gone = [...this.#open].filter(([id]) => !now.has(id))
    for (const [id, { taken }] of gone) {
      this.#open.delete(id)
      taken.abort(new Error('it is not asked any more'))
    }
    for (const [id, asked] of now) {
      if (this.#open.has(id)) continue
      const taken = new AbortController()
      this.#open.set(id, { taken, left: this.#one(() => this.#ask(asked, taken.signal)) })
    }
    await Promise.all(gone.map(([, { left }]) => left))
  }

  async #ask({ host, question }: Asked, taken: AbortSignal): Promise<void> {
    if (taken.aborted || this.#io.interrupted.aborted) return
    this.#canvas.pause()
    try {
      const answers = await askOnTerminal(this.#io, host)?.(question, taken)
      await this.#answer(question.id, answers ?? null)
    } catch {
      // Ctrl-C ends the whole command; an answer that comes too late is told by what becomes of the host.
    } finally {
      this.#canvas.resume()
    }
  }
}
