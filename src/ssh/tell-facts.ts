import type { AnyAuthMethod, AuthHandlerMiddleware, Client } from 'ssh2'
import { printable } from '../base/text.js'
import { hostKeyFacts, loginFacts } from './facts.js'
import { oneLine, type Greeting } from './greeting.js'
import { fingerprint, keyType } from './known-hosts/fingerprint.js'
import type { HostKeyGuard } from './known-hosts/host-key.js'
import type { KnownHost } from './known-hosts/read.js'
import type { Fact } from './lane-options.js'
import type { Story } from './login/story.js'

interface Parts {
  readonly known: KnownHost
  readonly login: { readonly next: AuthHandlerMiddleware; readonly story: Story }
  readonly onFact?: ((fact: Fact) => void) | undefined
}

/** Tells what becomes known in one handshake; without anybody who hears it, does nothing at all. */
export interface Teller {
  /** The server has named its software. */
  readonly onIdent: (ident: string) => void
  /** For ssh2's `authHandler`. */
  readonly next: AuthHandlerMiddleware
  /** Tells what was left to tell, once the handshake is over. */
  readonly end: (greeting: Greeting) => void
}

/** Must hear of the client before it connects, and before whoever else hears its `handshake`. */
export const tellerOf = (client: Client, guard: HostKeyGuard, parts: Parts): Teller => {
  const { known, login, onFact } = parts
  if (!onFact) return { onIdent: nothing, next: login.next, end: nothing }
  const tell = (stage: Fact['stage'], texts: readonly string[]) => {
    for (const text of texts) onFact({ stage, text })
  }
  let last: AnyAuthMethod | undefined
  let isLoggingIn = false
  let isIn = false
  client.once('handshake', (agreed) => {
    isLoggingIn = true
    const shown = guard.shown()
    if (shown) tell('host key', hostKeyFacts(known, shown, agreed))
  })
  client.on('banner', (message) => tell('login', [`the server says: ${oneLine(message)}`]))
  client.once('ready', () => {
    isIn = true
  })
  return {
    onIdent: (ident) => tell('banner', [ident]),
    next: (left, more, answer) => {
      login.next(left, more, (method) => {
        last = method as AnyAuthMethod
        answer(method)
      })
    },
    end: (greeting) => {
      if (greeting.ident() === undefined && greeting.before() !== '') {
        tell('banner', [`it said: ${greeting.before()}`])
      }
      if (isLoggingIn) tell('login', loginFacts(login.story))
      if (isIn) tell('login', [`let in by ${nameOf(last)}`])
    },
  }
}

const nothing = (): void => undefined

const nameOf = (method: AnyAuthMethod | undefined): string => {
  if (!method || method.type === 'none') return 'no proof at all'
  if (method.type !== 'publickey' || typeof method.key !== 'object' || !('getPublicSSH' in method.key)) {
    return method.type
  }
  const blob = method.key.getPublicSSH()
  return `publickey, with ${printable(keyType(blob))} ${fingerprint(blob)}`
}
