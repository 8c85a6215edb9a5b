import { constants, type Stats } from 'node:fs'
import { open } from 'node:fs/promises'
import { DproxyError, errnoOf } from '../../base/errors.js'
import { printable } from '../../base/text.js'

// Some hundred lines at a time: between two reads the event loop has its turn, also if each line costs an HMAC.
const CHUNK_BYTES = 32 * 1024
const LONGEST_LINE = 1024 * 1024

/**
 * Calls `visit` with each line of `file` (as latin1, one character a byte, without its newline) and its number,
 * counted from 1. `hint`: what to do about a file that cannot be read.
 * @throws what `visit` throws; DproxyError HOST_KEY_UNREADABLE; an ENOENT or ENOTDIR when there is no such file
 */
export const eachLine = async (
  file: string,
  visit: (text: string, line: number) => void,
  signal?: AbortSignal,
  hint?: string,
): Promise<void> => {
  // Not to wait for whoever writes into a FIFO.
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK).catch((failure: unknown) => {
    throw isMissing(failure) ? failure : unreadable(file, errnoOf(failure) ?? String(failure), failure, hint)
  })
  try {
    const why = unfit(await handle.stat())
    if (why !== undefined) throw unreadable(file, why, undefined, hint)
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
    let line = 0
    let rest = ''
    for (;;) {
      signal?.throwIfAborted()
      const { bytesRead } = await handle.read(chunk, 0, CHUNK_BYTES, null).catch((failure: unknown) => {
        throw unreadable(file, errnoOf(failure) ?? String(failure), failure, hint)
      })
      if (bytesRead === 0) break
      const lines = (rest + chunk.toString('latin1', 0, bytesRead)).split('\n')
      rest = lines.pop() ?? ''
      if (rest.length > LONGEST_LINE)
        throw unreadable(file, `line ${line + lines.length + 1} never ends`, undefined, hint)
      for (const text of lines) visit(text, (line += 1))
    }
    if (rest !== '') visit(rest, line + 1)
  } finally {
    await handle.close()
  }
}

export const isMissing = (failure: unknown): boolean =>
  errnoOf(failure) === 'ENOENT' || errnoOf(failure) === 'ENOTDIR'

/** The error of a file that cannot be read: it may hold a revocation, so nothing can be accepted without it. */
export const unreadable = (
  file: string,
  why: string,
  cause?: unknown,
  hint = 'make it readable, or name another one with `knownHostsFile:`',
): DproxyError =>
  new DproxyError('HOST_KEY_UNREADABLE', `cannot read ${printable(file)}: ${why}`, {
    stage: 'host key',
    hint,
    cause,
  })

// /dev/null is a usual way to say "no file".
const unfit = (found: Stats): string | undefined => {
  if (found.isFile() || found.isCharacterDevice()) return undefined
  return found.isDirectory() ? 'EISDIR' : 'it is not a file'
}
