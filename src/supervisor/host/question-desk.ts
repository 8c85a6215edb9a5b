import { setTimeout as sleep } from 'node:timers/promises'
import { deferred, type Deferred } from '../../base/deferred.js'
import { DproxyError } from '../../base/errors.js'
import { count } from '../../base/text.js'
import { unless } from '../../base/timeout.js'
import type { Question } from '../../control/messages.js'
import type { Ask } from '../../ssh/person.js'

// As long as sshd itself waits for a login (sshd_config(5), LoginGraceTime).
const ANSWER_WITHIN_MS = 120_000

interface Open {
  readonly question: Question
  readonly answered: Deferred<readonly string[] | null>
}

/**
 * Where the login of one host asks a person. A question lies here, seen in the host's status, until whoever
 * sees it answers or declines, it is too late, or the login is over. One at a time: a login asks in order.
 */
export class QuestionDesk {
  readonly #idPrefix: string
  readonly #onChange: () => void
  #count = 0
  #open: Open | undefined

  constructor(idPrefix: string, onChange: () => void) {
    this.#idPrefix = idPrefix
    this.#onChange = onChange
  }

  /** What is being asked now. */
  get question(): Question | null {
    return this.#open?.question ?? null
  }

  readonly ask: Ask = async ({ kind, text, prompts }, signal) => {
    this.#count += 1
    // The random part: an answer must never reach a later question of a supervisor that was started anew.
    const id = `${this.#idPrefix}:${this.#count}-${crypto.randomUUID().slice(0, 8)}`
    const open: Open = {
      question: { id, kind, text, prompts: prompts.map((prompt) => ({ ...prompt })) },
      answered: deferred(),
    }
    this.#open = open
    this.#onChange()
    const over = new AbortController()
    const late = sleep(ANSWER_WITHIN_MS, null, { signal: over.signal }).catch(() => null)
    try {
      return await unless([signal], Promise.race([open.answered.promise, late]))
    } finally {
      over.abort()
      this.#open = undefined
      this.#onChange()
    }
  }

  /**
   * Gives the answer; null declines. False when this is not what is being asked.
   * @throws DproxyError REQUEST_INVALID when the question takes another number of answers; it stays open
   */
  answer(id: string, answers: readonly string[] | null): boolean {
    const open = this.#open
    if (open?.question.id !== id) return false
    const { length: wanted } = open.question.prompts
    if (answers !== null && answers.length !== wanted) {
      throw new DproxyError(
        'REQUEST_INVALID',
        `the question takes ${count(wanted, 'answer')}, not ${answers.length}`,
      )
    }
    open.answered.resolve(answers)
    return true
  }
}
