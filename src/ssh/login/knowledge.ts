import { printable } from '../../base/text.js'
import type { Stored } from '../person.js'
import { where } from '../target.js'
import type { Context, LoginHelp } from './context.js'
import type { Problem } from './story.js'

/** A host's stored password, looked up once in a login and used once. */
export class StoredPassword {
  readonly #context: Context
  #stored: Promise<Stored> | undefined

  constructor(context: Context) {
    this.#context = context
  }

  get(): Promise<Stored> {
    const { help, waiting, signal } = this.#context
    return (this.#stored ??= waiting.during(() => help.secrets.password(signal)))
  }
}

/** Why there is no password: none is stored, or it cannot be had, and nobody can be asked. */
export const noPassword = (stored: Stored, { resolved: { typed }, help }: Context): Problem => {
  const onTerminal = `on a terminal: dproxy up ${typed}`
  return stored.kind === 'problem'
    ? {
        of: 'answer',
        code: 'LOGIN_NEEDS_PERSON',
        why: stored.minor
          ? `nobody can be asked for the password here, and ${printable(stored.why)}`
          : `the stored password could not be had: ${printable(stored.why)}`,
        hint: printable(stored.minor ? `${onTerminal}; or ${stored.hint}` : stored.hint),
      }
    : {
        of: 'answer',
        code: 'LOGIN_NEEDS_PERSON',
        why: 'no password is stored, and nobody can be asked for one',
        hint: printable(`${onTerminal}; or ${toGive('password', 'store it', help)}`),
      }
}

/** How a secret is given that is missing or wrong, as a clause. */
export const toGive = (kind: 'passphrase' | 'password', verb: string, { secrets }: LoginHelp): string => {
  const command = secrets.toStore(kind)
  return command === null ? `let the ${kind}Command of the config print the right one` : `${verb}: ${command}`
}

/** Nobody typed what was asked for. */
export const notGiven = (what: string, { resolved }: Context): Problem => ({
  of: 'answer',
  code: 'LOGIN_NEEDS_PERSON',
  why: `${what} for ${printable(where(resolved))} was asked for and not given`,
  hint: printable(`try again: dproxy up ${resolved.typed}`),
})
