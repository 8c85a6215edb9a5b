import { close, constants, fstat, open, readFile } from 'node:fs'
import { Socket } from 'node:net'
import { promisify } from 'node:util'
import { DproxyError, errnoOf } from '../../base/errors.js'
import type { Env } from '../../base/paths.js'
import { printable } from '../../base/text.js'
import { within } from '../../base/timeout.js'
import { refuseOpenToOthers } from './private-file.js'

/**
 * Gives the passphrase of the encrypted file at `path`, which is to be opened or made.
 * @throws DproxyError when it cannot be had
 */
export type Master = (purpose: 'open' | 'make', path: string, signal: AbortSignal) => Promise<string>

/** Names a file whose first line is the passphrase; its value is a path, never the passphrase. */
export const MASTER_VARIABLE = 'DPROXY_SECRETS_PASSPHRASE_FILE'

/** The passphrase out of the file that the environment names; undefined when it names none. */
export const masterFromFile = (env: Env): Master | undefined => {
  const file = env[MASTER_VARIABLE]
  return file ? (_purpose, _path, signal) => firstLineOf(file, signal) : undefined
}

/** For processes that nobody can type to: out of the file, or not at all. */
export const masterUnasked = (env: Env): Master =>
  masterFromFile(env) ??
  (async (_purpose, path) => {
    throw new DproxyError(
      'SECRET_STORE_LOCKED',
      `the encrypted file ${printable(path)} needs its passphrase, and nobody can be asked here`,
      {
        hint: `put it into a file of mode 0600 and its path into ${MASTER_VARIABLE}, then dproxy down --all and up`,
      },
    )
  })

const LIMIT_MS = 10_000
const LARGEST_BYTES = 64 * 1024

const firstLineOf = async (path: string, signal: AbortSignal): Promise<string> => {
  const text = await within(
    LIMIT_MS,
    signal,
    () => unusable(path, 'has nothing to read'),
    (limit) => textOf(path, limit),
  )
  const line = text.split('\n')[0]?.replace(/\r$/u, '') ?? ''
  if (line === '') throw unusable(path, 'has an empty first line')
  return line
}

const textOf = async (path: string, signal: AbortSignal): Promise<string> => {
  if (!path.startsWith('/')) throw unusable(path, 'is not named by an absolute path')
  try {
    // Without O_NONBLOCK the open of a FIFO waits for a writer, perhaps for ever.
    const fd = await promisify(open)(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const found = await promisify(fstat)(fd)
    if (found.isFIFO()) return await textOfPipe(fd, signal)
    try {
      refuseOpenToOthers(path, found)
      return await promisify(readFile)(fd, 'utf8')
    } finally {
      await promisify(close)(fd)
    }
  } catch (failure) {
    signal.throwIfAborted()
    if (failure instanceof DproxyError) throw failure
    throw unusable(path, `cannot be read: ${errnoOf(failure) ?? String(failure)}`)
  }
}

/** Of `/dev/fd/3`, which a shell opens for `3< <(pass show …)`; closes it. */
const textOfPipe = async (fd: number, signal: AbortSignal): Promise<string> => {
  // Not a file's stream: its reads wait in a thread, and Node does not exit before they end.
  const pipe = new Socket({ fd, readable: true, writable: false, signal })
  let text = ''
  for await (const chunk of pipe.setEncoding('utf8')) {
    text += String(chunk)
    if (text.length > LARGEST_BYTES) break
  }
  return text
}

const unusable = (path: string, why: string): DproxyError =>
  new DproxyError('SECRET_STORE_LOCKED', `the file ${printable(path)}, named by ${MASTER_VARIABLE}, ${why}`, {
    hint: 'its first line must be the passphrase of the encrypted file, and only you may read it (chmod 600)',
  })
