import { randomBytes } from 'node:crypto'
import { link, open, rename, stat, unlink } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { DproxyError, errnoOf } from './errors.js'

// Work under a lock takes milliseconds: an older lock is one whose holder was killed.
const STALE_MS = 5000
const ASK_AGAIN_MS = 5
// In /tmp a stranger can hold our lock's name for ever, and the sticky bit keeps us from removing it.
const LONGEST_WAIT_MS = 2 * STALE_MS

/**
 * Runs `work` while no other process does work under the same lock. The lock is a file that only one can create
 * (open(2), O_EXCL); it is gone afterwards. For short work only.
 * @throws what `work` throws; DproxyError SOCKET_FAILED when the lock is not given back in 10 s; a system error
 * when the file cannot be made
 */
export const exclusively = async <T>(lock: string, work: () => Promise<T>): Promise<T> => {
  const deadline = performance.now() + LONGEST_WAIT_MS
  while (!(await taken(lock))) {
    if (performance.now() > deadline) throw held(lock)
    await removeIfStale(lock)
    await sleep(ASK_AGAIN_MS)
  }
  try {
    return await work()
  } finally {
    await unlink(lock).catch(() => undefined)
  }
}

const taken = async (lock: string): Promise<boolean> => {
  try {
    const file = await open(lock, 'wx', 0o600)
    await file.close()
    return true
  } catch (failure) {
    if (errnoOf(failure) === 'EEXIST') return false
    throw failure
  }
}

const removeIfStale = async (lock: string): Promise<void> => {
  const found = await stat(lock).catch(() => undefined)
  if (!found || Date.now() - found.mtimeMs <= STALE_MS) return
  // Two may find it stale, and the first may hold its own by the time the second acts: so it is moved aside and
  // looked at there, and given back if it is not the one that was seen.
  const aside = `${lock}.${randomBytes(6).toString('hex')}`
  try {
    await rename(lock, aside)
    if ((await stat(aside)).ino !== found.ino) await link(aside, lock)
  } catch {
    // Somebody else was quicker.
  }
  await unlink(aside).catch(() => undefined)
}

const held = (lock: string): DproxyError =>
  new DproxyError('SOCKET_FAILED', `the lock ${lock} is held and not given back`, {
    stage: 'socket',
    hint: 'remove that file if no dproxy is starting; if it is not yours, choose another path with `socket:`',
  })
