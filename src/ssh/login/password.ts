import type { AnyAuthMethod } from 'ssh2'
import { printable } from '../../base/text.js'
import { where } from '../target.js'
import type { Context } from './context.js'
import { noPassword, notGiven, toGive, type StoredPassword } from './knowledge.js'
import { Stopped } from './story.js'
import type { Way } from './way.js'

/** Login by password (RFC 4252 section 8): the stored one, else one that is asked for; once. */
export class Password implements Way {
  readonly method = 'password'
  readonly #context: Context
  readonly #stored: StoredPassword
  #tried = false
  #what = ''

  constructor(stored: StoredPassword, context: Context) {
    this.#stored = stored
    this.#context = context
  }

  async next(): Promise<AnyAuthMethod | undefined> {
    const { story, resolved, help } = this.#context
    if (this.#tried || story.answerRefused) return undefined
    this.#tried = true
    const stored = await this.#stored.get()
    if (stored.kind === 'found') {
      this.#what = `the password from ${printable(stored.from)}`
      return { type: 'password', username: resolved.user, password: stored.value }
    }
    if (!help.ask) {
      story.problem(noPassword(stored, this.#context))
      return undefined
    }
    this.#what = 'the password that was typed'
    return { type: 'password', username: resolved.user, password: await this.#ask() }
  }

  notYetIn(more: boolean): void {
    const { story } = this.#context
    story.answerRefused ||= !more
    story.tried.push({
      kind: 'answer',
      what: this.#what,
      result: more ? 'more' : 'refused',
      hint: hintFor(this.#what, this.#context),
    })
  }

  async #ask(): Promise<string> {
    const { help, waiting, resolved, signal } = this.#context
    const to = printable(where(resolved))
    const question = {
      kind: 'password' as const,
      text: `${to} asks for a password.`,
      prompts: [{ text: `Password of ${to}: `, echo: false }],
    }
    const answers = await waiting.during(async () => (await help.ask?.(question, signal)) ?? null)
    const answer = answers?.[0] ?? ''
    // An empty one would be sent in vain, and counted.
    if (answer === '') throw new Stopped(notGiven('the password', this.#context))
    return answer
  }
}

/** What to do about a refused answer. */
export const hintFor = (what: string, { resolved: { typed }, help }: Context): string =>
  printable(
    what.includes(' from ')
      ? `${toGive('password', 'store the right one', help)}; or ask ssh itself which user and password it takes`
      : `try again: dproxy up ${typed}`,
  )
