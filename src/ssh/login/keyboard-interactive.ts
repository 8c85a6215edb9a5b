import type { AnyAuthMethod, Prompt as Asked } from 'ssh2'
import { printable } from '../../base/text.js'
import type { Question } from '../person.js'
import type { Context } from './context.js'
import { noPassword, notGiven, type StoredPassword } from './knowledge.js'
import { hintFor } from './password.js'
import { MOST_PROMPTS, questionOf } from './server-question.js'
import { Stopped, type Problem } from './story.js'
import type { Way } from './way.js'

// A second device may follow the first by the same method; a server that is never content is left.
const MOST_TIMES = 3

/**
 * Login by question and answer (RFC 4256), any number of rounds. A question that can only be for the password is
 * answered from the store; a person answers everything else. Rounds without a question ssh2 answers by itself.
 */
export class KeyboardInteractive implements Way {
  readonly method = 'keyboard-interactive'
  readonly #context: Context
  readonly #stored: StoredPassword
  readonly #hangUp: () => void
  #times = 0
  #refused = false
  #rounds = 0
  #what: string | undefined

  /** @param hangUp ends the connection: within a round ssh2 takes nothing but answers */
  constructor(stored: StoredPassword, context: Context, hangUp: () => void) {
    this.#stored = stored
    this.#context = context
    this.#hangUp = hangUp
  }

  async next(): Promise<AnyAuthMethod | undefined> {
    const { story, resolved, help } = this.#context
    if (this.#refused || story.answerRefused || this.#times === MOST_TIMES) return undefined
    if (!help.ask) {
      const stored = await this.#stored.get()
      if (stored.kind !== 'found') {
        story.problem(noPassword(stored, this.#context))
        return undefined
      }
    }
    this.#times += 1
    this.#rounds = 0
    this.#what = undefined
    return {
      type: 'keyboard-interactive',
      username: resolved.user,
      prompt: (name, instructions, _language, prompts, finish) =>
        void this.#round(name, instructions, prompts).then(
          (answers) => answers && finish([...answers]),
          (failure: unknown) => this.#failed(failure),
        ),
    }
  }

  notYetIn(more: boolean): void {
    const { story } = this.#context
    this.#refused = !more
    // Servers without a question to ask refuse at once; that says nothing about what anybody knows.
    if (this.#what === undefined) return
    story.answerRefused ||= !more
    const hint = hintFor(this.#what, this.#context)
    story.tried.push({ kind: 'answer', what: this.#what, result: more ? 'more' : 'refused', hint })
  }

  async #round(
    name: string,
    instructions: string,
    prompts: readonly Asked[],
  ): Promise<readonly string[] | undefined> {
    const { help, waiting, signal, resolved } = this.#context
    this.#rounds += 1
    if (prompts.length > MOST_PROMPTS) throw new Stopped(tooMany(prompts.length))
    if (this.#rounds === 1 && isForPassword(prompts)) {
      const stored = await this.#stored.get()
      if (stored.kind === 'found') {
        this.#what = `the password from ${printable(stored.from)}`
        return [stored.value]
      }
    }
    const question = questionOf(resolved, name, instructions, prompts)
    const what = `the answer to ${shortOf(question)}`
    if (!help.ask) throw new Stopped(nobody(what, this.#context))
    const answers = await waiting.during(async () => (await help.ask?.(question, signal)) ?? null)
    if (!answers) throw new Stopped(notGiven(what, this.#context))
    this.#what = 'the answers that were typed'
    return prompts.map((_, index) => answers[index] ?? '')
  }

  #failed(failure: unknown): void {
    if (this.#context.signal.aborted) return
    this.#context.story.stop(failure)
    this.#hangUp()
  }
}

const shortOf = ({ prompts }: Question): string => {
  const [first, ...more] = prompts
  const text = (first?.text ?? '').trim().slice(0, 80)
  return more.length === 0 ? `"${text}"` : `"${text}" and ${more.length} more`
}

/** One hidden answer, asked for by that name; a one-time password is another thing. */
const isForPassword = ([first, ...more]: readonly Asked[]): boolean =>
  first !== undefined &&
  more.length === 0 &&
  first.echo !== true &&
  /password/iu.test(first.prompt) &&
  !/one.?time|\botp\b|token|code|new|verif/iu.test(first.prompt)

const nobody = (what: string, { resolved: { typed } }: Context): Problem => ({
  of: 'answer',
  code: 'LOGIN_NEEDS_PERSON',
  why: `the server wants ${what}, and nobody can be asked`,
  hint: printable(`on a terminal: dproxy up ${typed}`),
})

const tooMany = (amount: number): Problem => ({
  of: 'answer',
  code: 'LOGIN_UNSUPPORTED',
  why: `the server asks ${amount} questions at once, which nobody could answer`,
  hint: 'look at how it is set up (PAM), or log in by key',
})
