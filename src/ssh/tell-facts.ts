import type { Duplex } from 'node:stream'
import type { AnyAuthMethod, AuthHandlerMiddleware, Client } from 'ssh2'
import { printable } from '../base/text.js'
import { hostKeyFacts, loginFacts } from './facts.js'
import { fingerprint, keyType } from './known-hosts/fingerprint.js'
import type { HostKeyGuard } from './known-hosts/host-key.js'
import type { KnownHost } from './known-hosts/read.js'
import type { Fact } from './lane-options.js'
import type { Story } from './login/story.js'

interface Parts {
  readonly socket: Duplex
  readonly known: KnownHost
  readonly login: { readonly next: AuthHandlerMiddleware; readonly story: Story }
  readonly onFact?: ((fact: Fact) => void) | undefined
}

/** Tells what becomes known in one handshake; without anybody who hears it, does nothing at all. */
export interface Teller {
  /** For ssh2's `authHandler`. */
  readonly next: AuthHandlerMiddleware
  /** Tells what was left to tell, once the handshake is over. */
  readonly end: () => void
}

/** Must hear of the client before it connects, and before whoever else hears its `handshake`. */
export const tellerOf = (client: Client, guard: HostKeyGuard, parts: Parts): Teller => {
  const { socket, known, login, onFact } = parts
  if (!onFact) return { next: login.next, end: () => undefined }
  const tell = (stage: Fact['stage'], texts: readonly string[]) => {
    for (const text of texts) onFact({ stage, text })
  }
  const greeting = hearIdent(socket, (ident) => tell('banner', [ident]))
  let last: AnyAuthMethod | undefined
  let isLoggingIn = false
  let isIn = false
  client.once('handshake', (agreed) => {
    isLoggingIn = true
    const shown = guard.shown()
    if (shown) tell('host key', hostKeyFacts(known, shown, agreed))
  })
  client.on('banner', (message) => tell('login', [`the server says: ${short(message)}`]))
  client.once('ready', () => {
    isIn = true
  })
  return {
    next: (left, more, answer) => {
      login.next(left, more, (method) => {
        last = method as AnyAuthMethod
        answer(method)
      })
    },
    end: () => {
      if (!greeting.isHeard()) tell('banner', greeting.said() === '' ? [] : [`it said: ${greeting.said()}`])
      if (isLoggingIn) tell('login', loginFacts(login.story))
      if (isIn) tell('login', [`let in by ${nameOf(last)}`])
    },
  }
}

const nameOf = (method: AnyAuthMethod | undefined): string => {
  if (!method || method.type === 'none') return 'no proof at all'
  if (method.type !== 'publickey' || typeof method.key !== 'object' || !('getPublicSSH' in method.key)) {
    return method.type
  }
  const blob = method.key.getPublicSSH()
  return `publickey, with ${printable(keyType(blob))} ${fingerprint(blob)}`
}

// RFC 4253 section 4.2: lines may come before the one that names the server's software; nobody needs more.
const LONGEST_GREETING = 8 * 1024

/** Reads along until the server has named its software. */
const hearIdent = (socket: Duplex, heard: (ident: string) => void) => {
  let text = ''
  let ident: string | undefined
  const read = (chunk: Buffer) => {
    text += chunk.toString('latin1')
    ident = /^SSH-[^\r\n]*(?=\r?\n)/mu.exec(text)?.[0]
    if (ident === undefined && text.length < LONGEST_GREETING) return
    socket.off('data', read)
    if (ident !== undefined) heard(short(ident))
  }
  socket.on('data', read)
  return { isHeard: () => ident !== undefined, said: () => short(text) }
}

const short = (text: string): string => {
  const line = printable(text.trim().replaceAll(/\s+/gu, ' '))
  return line.length > 200 ? `${line.slice(0, 200)}…` : line
}
