import type { ErrorCode } from '../../base/errors.js'
import { printable } from '../../base/text.js'

/** Something that kept us from using a method, in words. */
export interface Problem {
  /** What it kept us from offering. */
  readonly of: 'key' | 'answer'
  readonly code: ErrorCode
  /** A clause, printable. */
  readonly why: string
  readonly hint: string
}

/** One thing that was put before the server. */
export interface Tried {
  readonly kind: 'key' | 'answer'
  /** Printable: a key's label, `the password that was typed`. */
  readonly what: string
  /** `more`: right, but the server wants more (RFC 4252, partial success). */
  readonly result: 'refused' | 'more' | 'not admitted'
  /** What to do when it was refused, where that is known. */
  readonly hint?: string
}

/** What happened in one login, for whoever must explain it afterwards. */
export class Story {
  readonly tried: Tried[] = []
  readonly problems: Problem[] = []
  /** What the server said last that it takes; undefined before its first word. */
  accepts: readonly string[] | undefined
  /** Set once we ended the login ourselves, for this reason or for want of anything else to try. */
  stopped: Problem | 'nothing left' | undefined
  /** What a person or a store gave was refused: it is not asked for again, and nothing else is. */
  answerRefused = false

  /** Ends the login for a reason of our own; the first one counts. */
  stop(failure: unknown): void {
    this.stopped ??=
      failure instanceof Stopped
        ? failure.problem
        : { of: 'answer', code: 'INTERNAL', why: printable(String(failure)), hint: 'please report this' }
  }

  problem(problem: Problem): void {
    if (!this.problems.some(({ why }) => why === problem.why)) this.problems.push(problem)
  }
}

/** Thrown to end a login that must not go on. */
export class Stopped extends Error {
  readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.why)
    this.problem = problem
  }
}
