import ssh2, { type AnyAuthMethod, type AuthHandlerMiddleware, type ParsedKey } from 'ssh2'
import { DproxyError } from '../base/errors.js'
import { list, printable } from '../base/text.js'
import type { Identities, Identity } from './identities.js'
import { where, type Resolved } from './target.js'

/** The login of one connection: what to offer next, and afterwards what was offered. */
export interface Login {
  /** For ssh2's `authHandler`. */
  readonly next: AuthHandlerMiddleware
  /** Why the server did not let us in; made after ssh2 has given up. */
  readonly refusal: () => DproxyError
}

/** Offers the identities one by one: one try each, nothing twice, and nothing the server does not take. */
export const loginWith = (resolved: Resolved, identities: Identities): Login => {
  const waiting = [...identities.usable]
  const offered: string[] = []
  let accepts: readonly string[] | undefined
  let askedNone = false
  const choose = (authsLeft: readonly string[] | null): AnyAuthMethod | false => {
    accepts = authsLeft ?? accepts
    // "none" makes the server name the methods it takes (RFC 4252 section 5.2); it costs no try.
    if (!askedNone) {
      askedNone = true
      return { type: 'none', username: resolved.user }
    }
    if (accepts && !accepts.includes('publickey')) return false
    const identity = waiting.shift()
    if (!identity) return false
    offered.push(identity.label)
    return methodOf(identity, resolved.user)
  }
  return {
    // ssh2 takes the method, or false for "no more", as the handler's answer; its types know only the callback.
    next: (authsLeft: string[] | null) => choose(authsLeft),
    refusal: () => refusal(resolved, identities, offered, accepts),
  }
}

const methodOf = ({ key, agent }: Identity, username: string): AnyAuthMethod =>
  agent
    ? ({ type: 'agent', username, agent: new OneKeyAgent(agent, key) } as unknown as AnyAuthMethod)
    : ({ type: 'publickey', username, key } as unknown as AnyAuthMethod)

/** An agent seen as if it held a single key: ssh2 would otherwise offer all of them, in the agent's order. */
class OneKeyAgent extends ssh2.BaseAgent<ParsedKey> {
  readonly #agent: ssh2.OpenSSHAgent
  readonly #key: ParsedKey

  constructor(agent: ssh2.OpenSSHAgent, key: ParsedKey) {
    super()
    this.#agent = agent
    this.#key = key
  }

  override getIdentities(answer: ssh2.IdentityCallback<ParsedKey>): void {
    answer(undefined, [this.#key])
  }

  override sign(
    key: ParsedKey,
    data: Buffer,
    options: ssh2.SigningRequestOptions | ssh2.SignCallback,
    answer?: ssh2.SignCallback,
  ): void {
    if (typeof options === 'function') this.#agent.sign(key, data, options)
    else this.#agent.sign(key, data, options, answer)
  }
}

const refusal = (
  resolved: Resolved,
  { problems }: Identities,
  offered: readonly string[],
  accepts: readonly string[] | undefined,
): DproxyError => {
  const to = where(resolved)
  const [problem] = problems
  if (accepts && !accepts.includes('publickey')) {
    return new DproxyError('LOGIN_REFUSED', `${to} takes no keys, only ${printable(list(accepts))}`, {
      stage: 'login',
      hint: 'let the server accept public keys (PubkeyAuthentication yes) and put your key in its authorized_keys',
    })
  }
  if (offered.length === 0) {
    const why = problem ? problems.map((each) => each.why).join('; ') : 'no ssh-agent and no key file'
    return new DproxyError(
      problem ? 'LOGIN_KEY_FILE' : 'LOGIN_REFUSED',
      `there is no key to log in to ${to} with: ${why}`,
      {
        stage: 'login',
        hint:
          problem?.hint ??
          'start an ssh-agent and ssh-add a key, or name one with `identityFile:` or --ssh-key',
      },
    )
  }
  const also = problems.map(({ why }) => `; ${why}`).join('')
  return new DproxyError(
    'LOGIN_REFUSED',
    `${to} refused ${offered.length === 1 ? 'the only key' : `all ${offered.length} keys`} offered: ${printable(list(offered))}${also}`,
    {
      stage: 'login',
      hint:
        problem?.hint ??
        `is the user name right, and the key in that user's authorized_keys? try: ssh -p ${resolved.port} ${resolved.user}@${resolved.host}`,
    },
  )
}
