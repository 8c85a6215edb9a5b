import type { AnyAuthMethod, AuthHandlerMiddleware, Client } from 'ssh2'
import { DproxyError } from '../../base/errors.js'
import { printable } from '../../base/text.js'
import type { PersonAsked } from '../login-clock.js'
import { sshLine } from '../ssh-line.js'
import { where, type Resolved } from '../target.js'
import type { Context, LoginHelp } from './context.js'
import { gatherIdentities } from './identities.js'
import { KeyboardInteractive } from './keyboard-interactive.js'
import { StoredPassword } from './knowledge.js'
import { Password } from './password.js'
import { PublicKeys } from './public-keys.js'
import { refusalOf } from './refusal.js'
import { Story } from './story.js'
import { Waiting } from './waiting.js'
import type { Way } from './way.js'

export type { LoginHelp } from './context.js'

/** The login of one connection. */
export interface Login {
  /** For ssh2's `authHandler`: answers by its callback. */
  readonly next: AuthHandlerMiddleware
  /** Must hear of the client before it connects. */
  readonly attach: (client: Client) => void
  /** Why we ended the login; undefined while we have not. Comes before whatever ssh2 says. */
  readonly failure: () => DproxyError | undefined
  /**
   * Why the server ended it: the login refused, or no word of why.
   * @param said the server's last words, or what became of the connection
   */
  readonly refusal: (said?: string) => DproxyError
  /** Tells when the login waits for this side, so that the server's clock can be stopped. */
  readonly person: PersonAsked
  /** What has happened so far. */
  readonly story: Story
}

/**
 * Prepares the login to `resolved`: gathers its keys, and tries nothing yet. Then `none` comes first, by which
 * the server names its methods (RFC 4252 section 5.2), and after it those that both sides take, in our order.
 * Nothing that the server refused is ever sent again.
 * @param signal must abort when the connection is over: it withdraws questions and ends what is under way
 * @throws the reason of `signal` only
 */
export const prepareLogin = async (
  resolved: Resolved,
  help: LoginHelp,
  signal: AbortSignal,
): Promise<Login> => {
  const story = new Story()
  const context: Context = {
    resolved,
    help,
    story,
    waiting: new Waiting(),
    signal,
  }
  const keys = resolved.methods.includes('publickey')
    ? await gatherIdentities(resolved, help.agentSocket, signal)
    : { usable: [], problems: [] }
  for (const { why, hint, forOpenssh } of keys.problems) {
    story.problem({ of: 'key', code: forOpenssh ? 'LOGIN_UNSUPPORTED' : 'LOGIN_KEY_FILE', why, hint })
  }
  return new Attempt(context, (hangUp) => {
    const stored = new StoredPassword(context)
    const ways = {
      publickey: new PublicKeys(keys.usable, context),
      'keyboard-interactive': new KeyboardInteractive(stored, context, hangUp),
      password: new Password(stored, context),
    }
    return resolved.methods.map((method) => ways[method])
  })
}

const HUNG_UP = /^$|too many|auth|closed|denied/iu
// What a server that slams the door looks like, and a network that fails. A key may be offered once more; what
// a person knows may not.
const RESET = /reset/iu

class Attempt implements Login {
  readonly person: PersonAsked
  readonly #context: Context
  readonly #ways: readonly Way[]
  #asked = false
  #last: Way | undefined
  #client: Client | undefined

  constructor(context: Context, waysOf: (hangUp: () => void) => readonly Way[]) {
    this.#context = context
    this.person = context.waiting
    this.#ways = waysOf(() => this.#hangUp())
  }

  readonly next: AuthHandlerMiddleware = (methodsLeft, more, answer) => {
    const { story, signal } = this.#context
    // ssh2 takes false for "no more" as well, whatever its types say.
    const answerOnce = answer as (method: AnyAuthMethod | false) => void
    this.#choose(methodsLeft, more)
      .catch((failure: unknown) => {
        if (!signal.aborted) story.stop(failure)
        return false as const
      })
      .then((method) => {
        if (!signal.aborted) answerOnce(method)
      })
      // A connection that died meanwhile tells so by itself.
      .catch(() => undefined)
  }

  get story(): Story {
    return this.#context.story
  }

  attach(client: Client): void {
    this.#client = client
    // Without a listener ssh2 lets the server wait for ever (RFC 4252 section 8, PASSWD_CHANGEREQ).
    client.on('change password', (prompt) => {
      const { story, resolved } = this.#context
      const said = printable(prompt.trim().slice(0, 200))
      story.stopped ??= {
        of: 'answer',
        code: 'LOGIN_REFUSED',
        why: `${printable(where(resolved))} wants a new password${said === '' ? '' : `: ${said}`}`,
        hint: `change it there first: ${sshLine(resolved)}`,
      }
      this.#hangUp()
    })
  }

  failure(): DproxyError | undefined {
    return this.#context.story.stopped && refusalOf(this.#context)
  }

  refusal(said = ''): DproxyError {
    const { resolved, story, waiting } = this.#context
    const to = printable(where(resolved))
    const words = printable(said)
    if (waiting.asked) {
      return new DproxyError('LOGIN_NEEDS_PERSON', `${to} hung up while it waited for an answer: ${words}`, {
        stage: 'login',
        hint: 'answer sooner: most servers wait two minutes (LoginGraceTime)',
      })
    }
    this.#last?.notYetIn(false)
    this.#last = undefined
    // Servers that have had enough hang up, some without a word; a lost connection is another matter.
    const gaveAnswer = story.tried.some(({ kind }) => kind === 'answer')
    if (story.tried.length > 0 && (HUNG_UP.test(said) || (gaveAnswer && RESET.test(said))))
      return refusalOf(this.#context, words && `then it hung up: ${words}`)
    return new DproxyError('HANDSHAKE_FAILED', `${to} hung up during the login: ${words}`, {
      stage: 'login',
      hint: `look at its log (journalctl -u ssh), or try: ${sshLine(resolved, '-v')}`,
    })
  }

  #hangUp(): void {
    this.#client?.end()
    // A server that does not hang up in turn must not hold us.
    setTimeout(() => this.#client?.destroy(), 1000).unref()
  }

  async #choose(methodsLeft: readonly string[] | null, more: boolean): Promise<AnyAuthMethod | false> {
    const { story, resolved } = this.#context
    story.accepts = methodsLeft ?? story.accepts
    if (!this.#asked) {
      this.#asked = true
      return { type: 'none', username: resolved.user }
    }
    this.#last?.notYetIn(more)
    for (const way of this.#ways) {
      if (story.stopped) return false
      if (!story.accepts?.includes(way.method)) continue
      this.#last = way
      const method = await way.next()
      if (method && !story.stopped) return method
    }
    this.#last = undefined
    story.stopped ??= 'nothing left'
    return false
  }
}
