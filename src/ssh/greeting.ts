import type { Duplex } from 'node:stream'
import { printable } from '../base/text.js'

// RFC 4253 section 4.2: lines may come before the one that names the server's software; nobody needs more.
const LONGEST_GREETING = 8 * 1024

/** What a server says before the key exchange. */
export interface Greeting {
  /** The line that names its software, as `SSH-2.0-OpenSSH_9.2`; undefined before it came. */
  readonly ident: () => string | undefined
  /** What came before that line, or instead of it; on one line, printable, not long. */
  readonly before: () => string
}

/** Reads along on a connection until the server has named its software; `heard` hears that line. */
export const hearGreeting = (socket: Duplex, heard: (ident: string) => void): Greeting => {
  let text = ''
  let ident: string | undefined
  const read = (chunk: Buffer) => {
    text += chunk.toString('latin1', 0, LONGEST_GREETING)
    const found = /^SSH-[^\r\n]*(?=\r?\n)/mu.exec(text)
    if (!found && text.length < LONGEST_GREETING) return
    socket.off('data', read)
    if (!found) return
    ident = oneLine(found[0])
    text = text.slice(0, found.index)
    heard(ident)
  }
  socket.on('data', read)
  return { ident: () => ident, before: () => oneLine(text) }
}

/** What somebody else said, on one line, printable, and not long. */
export const oneLine = (text: string): string => {
  const line = printable(text.trim().replaceAll(/\s+/gu, ' '))
  return line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)}…` : line
}

const LONGEST_LINE = 200
