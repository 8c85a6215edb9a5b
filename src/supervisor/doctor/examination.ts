import { asDproxyError, type DproxyError } from '../../base/errors.js'
import { Notes, type DoctorStage, type StageReport, type Trouble } from './report.js'

/** Runs the checks of one host and hands over what each found, as soon as it has. */
export class Examination {
  readonly #hear: (report: StageReport) => void
  readonly #signal: AbortSignal

  constructor(hear: (report: StageReport) => void, signal: AbortSignal) {
    this.#hear = hear
    this.#signal = signal
  }

  /**
   * Runs one check. Resolves with what it found, or with undefined when it failed: that is in its report.
   * @throws the signal's reason only
   */
  async check<T>(stage: DoctorStage, work: (notes: Notes) => Promise<T>): Promise<T | undefined> {
    this.#signal.throwIfAborted()
    const open = this.begin(stage)
    try {
      const found = await work(open.notes)
      open.pass()
      return found
    } catch (failure) {
      this.#signal.throwIfAborted()
      open.fail(asDproxyError(failure))
      return undefined
    }
  }

  /** Starts the clock of a stage that is passed or failed later. */
  begin(stage: DoctorStage, startedMs = performance.now()): OpenStage {
    const notes = new Notes()
    const end = (state: StageReport['state'], error: Trouble | null) => {
      // What the error says itself need not be told twice.
      const facts = notes.facts.filter((fact) => !error?.message.includes(fact))
      this.#hear({ stage, state, ms: Math.round(performance.now() - startedMs), facts, error })
    }
    return {
      stage,
      notes,
      pass: () => end(notes.warning ? 'warning' : 'ok', notes.warning),
      fail: (failure) => {
        if (notes.warning) notes.fact(notes.warning.message)
        end('failed', troubleOf(failure))
      },
    }
  }

  /** Stages that were not tried, because what they need is not there; `why`, where there is more to say. */
  skip(stages: readonly DoctorStage[], why?: string): void {
    const facts = why === undefined ? [] : [why]
    for (const stage of stages) this.#hear({ stage, state: 'not reached', ms: null, facts, error: null })
  }
}

/** A stage that is being worked on. Exactly one of `pass` and `fail` is called, once. */
export interface OpenStage {
  readonly stage: DoctorStage
  readonly notes: Notes
  readonly pass: () => void
  readonly fail: (failure: DproxyError) => void
}

const troubleOf = ({ code, message, hint }: DproxyError): Trouble => ({ code, message, hint: hint ?? null })
