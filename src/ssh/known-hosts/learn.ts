import { constants } from 'node:fs'
import { mkdir, open, realpath, type FileHandle } from 'node:fs/promises'
import { homedir, userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { DproxyError, errnoOf } from '../../base/errors.js'
import { exclusively } from '../../base/exclusively.js'
import { printable } from '../../base/text.js'
import { eachLine } from './each-line.js'
import { keyType } from './fingerprint.js'
import { judge } from './judge.js'
import { fieldsOf, type KnownKey } from './lines.js'
import { fieldFor, knownHostsName } from './names.js'
import { plainKey } from './plain-key.js'
import { readKnownHosts, type Lookup } from './read.js'
import { noKey, refusalOf } from './refusal.js'

/** Where a key stands. */
export interface Place {
  readonly file: string
  /** Counted from 1. */
  readonly line: number
}

/**
 * Stores the key that a person has approved, in the first known_hosts file; gives the place where it now stands,
 * which is an older line if one accepts it already. Only for a key of which nothing is known: what the files say
 * is read again, while nobody else of us writes.
 * @throws DproxyError HOST_KEY_NOT_STORED, and then it must not be trusted; HOST_KEY_CHANGED, HOST_KEY_REVOKED,
 * HOST_KEY_UNPROVEN and HOST_KEY_UNREADABLE, when the files say so
 */
export const learnHostKey = async (resolved: Lookup, shown: Buffer): Promise<Place> => {
  const [file] = resolved.knownHostsFiles
  if (file === undefined) throw notStored(resolved, 'the configuration names no known_hosts file')
  if (!plainKey(shown)) throw noKey(resolved)
  try {
    await makeSshDir(dirname(file))
    return await alone(file, () => store(resolved, file, shown))
  } catch (failure) {
    if (failure instanceof DproxyError && failure.code !== 'SOCKET_FAILED') throw failure
    const why = failure instanceof DproxyError ? failure.message : (errnoOf(failure) ?? String(failure))
    throw notStored(resolved, `${printable(file)}: ${why}`, failure)
  }
}

// Only ~/.ssh is made, as ssh does: a missing directory elsewhere is rather a slip in the configuration.
const makeSshDir = async (dir: string): Promise<void> => {
  if (![homedir(), userInfo().homedir].some((home) => join(home, '.ssh') === dir)) return
  await mkdir(dir, { mode: 0o700 }).catch((failure: unknown) => {
    if (errnoOf(failure) !== 'EEXIST') throw failure
  })
}

const alone = async <T>(file: string, work: () => Promise<T>): Promise<T> => {
  const real = await realpath(file).catch(() => file)
  let began = false
  try {
    return await exclusively(`${real}.dproxy-lock`, () => {
      began = true
      return work()
    })
  } catch (failure) {
    // A file may be ours to write where its directory is not. What is appended in one piece is never lost; the
    // worst of doing it without the lock is a line that stands twice.
    if (began || !['EACCES', 'EPERM', 'EROFS'].includes(errnoOf(failure) ?? '')) throw failure
    return work()
  }
}

const store = async (resolved: Lookup, file: string, shown: Buffer): Promise<Place> => {
  const before = judge(await readKnownHosts(resolved), shown)
  if (before.kind === 'known') return placeOf(before.lines)
  const refusal = before.kind === 'unknown' ? undefined : refusalOf(resolved, before, shown)
  if (refusal) throw refusal
  await append(resolved, file, async () => {
    const names = fieldFor(knownHostsName(resolved.hostKeyName), await isHashed(file))
    return `${names} ${keyType(shown)} ${shown.toString('base64')}\n`
  })
  const after = judge(await readKnownHosts(resolved), shown)
  if (after.kind !== 'known') throw notStored(resolved, `${printable(file)} does not hold what was written`)
  return placeOf(after.lines)
}

const placeOf = ([{ file, line }]: readonly [KnownKey]): Place => ({ file, line })

const append = async (resolved: Lookup, file: string, line: () => Promise<string>): Promise<void> => {
  const { O_RDWR, O_APPEND, O_CREAT, O_NONBLOCK } = constants
  const handle = await open(file, O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK, 0o600)
  try {
    const found = await handle.stat()
    if (!found.isFile()) throw notStored(resolved, `${printable(file)} is not a file that keeps anything`)
    const newline = (await endsOpen(handle, found.size)) ? '\n' : ''
    const text = newline + (await line())
    try {
      await handle.appendFile(text)
      await handle.sync()
    } catch (failure) {
      await takeBack(handle, found.size, text).catch(() => undefined)
      throw failure
    }
  } finally {
    await handle.close()
  }
}

/** A full disk takes the beginning of a line: removed again, unless somebody else has written something since. */
const takeBack = async (handle: FileHandle, size: number, text: string): Promise<void> => {
  const length = (await handle.stat()).size - size
  if (length <= 0 || length > text.length) return
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, size)
  if (bytesRead === length && text.startsWith(buffer.toString('latin1'))) await handle.truncate(size)
}

const endsOpen = async (handle: FileHandle, size: number): Promise<boolean> => {
  if (size === 0) return false
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(1), 0, 1, size - 1)
  return bytesRead === 1 && buffer.toString('latin1') !== '\n'
}

// HashKnownHosts of ssh_config(5) was on, or `ssh-keygen -H` run: who hid all names wants the next hidden, too.
const isHashed = async (file: string): Promise<boolean> => {
  let hashed = 0
  let plain = 0
  await eachLine(file, (text) => {
    const [first = '#'] = fieldsOf(text)
    if (first.startsWith('|1|')) hashed += 1
    else if (!/^[#@]/u.test(first)) plain += 1
  })
  return hashed > 0 && plain === 0
}

const notStored = ({ hostKeyName }: Lookup, why: string, cause?: unknown): DproxyError =>
  new DproxyError(
    'HOST_KEY_NOT_STORED',
    `the host key of ${printable(knownHostsName(hostKeyName))} cannot be stored: ${why}`,
    {
      stage: 'host key',
      hint: 'make that file writable, or name another one with `knownHostsFile:`',
      cause,
    },
  )
