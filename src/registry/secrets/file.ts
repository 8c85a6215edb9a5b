import { dirname, join } from 'node:path'
import pLimit from 'p-limit'
import { DproxyError } from '../../base/errors.js'
import { exclusively } from '../../base/exclusively.js'
import { userConfigPath, type Env } from '../../base/paths.js'
import { makeDirs } from '../../base/private-dir.js'
import { printable } from '../../base/text.js'
import { unless } from '../../base/timeout.js'
import type { Master } from './master.js'
import { readPrivate, writePrivate } from './private-file.js'
import {
  Damaged,
  fits,
  keyFor,
  parseSealed,
  seal,
  unseal,
  type Key,
  type Sealed,
  type Secrets,
} from './sealed.js'
import { accountsOf, keyOf, type SecretStore } from './store.js'

/** Where the encrypted file is: beside the user's own config file. */
export const secretsPath = (env: Env): string => join(dirname(userConfigPath(env)), 'secrets.enc')

/**
 * An encrypted file, for machines without a keychain. Its passphrase is asked for once, when it is first needed;
 * the key made from it is kept for as long as the store is.
 */
export const fileStore = ({ path, master }: { path: string; master: Master }): SecretStore => {
  const oneAtATime = pLimit(1)
  let kept: Key | undefined

  const keyOfFile = (sealed: Sealed, signal: AbortSignal, by: Master = master): Promise<Key> =>
    oneAtATime(async () => {
      if (kept?.salt === sealed.scrypt.salt) return kept
      const key = await unless([signal], keyFor(await by('open', path, signal), sealed))
      if (!fits(key, sealed)) throw wrongPassphrase(path)
      return (kept = key)
    })

  const read = async (signal: AbortSignal, by?: Master): Promise<Secrets> => {
    const sealed = await sealedAt(path)
    return sealed === undefined
      ? {}
      : opened(path, sealed, await unless([signal], keyOfFile(sealed, signal, by)))
  }

  /** Reads, changes and writes under a lock; `change` gives undefined to leave the file as it is. */
  const change = async (
    edit: (old: Secrets) => Secrets | undefined,
    signal: AbortSignal,
  ): Promise<boolean> => {
    const before = await sealedAt(path)
    // Before the lock, because a person may have to be asked.
    const key = before
      ? await keyOfFile(before, signal)
      : await unless([signal], keyFor(await master('make', path, signal)))
    return underLock(path, async () => {
      const sealed = await sealedAt(path)
      if (sealed?.scrypt.salt !== before?.scrypt.salt) throw changedMeanwhile(path)
      const changed = edit(sealed === undefined ? {} : opened(path, sealed, key))
      if (changed === undefined) return false
      signal.throwIfAborted()
      await writePrivate(path, seal(changed, key, sealed))
      kept = key
      return true
    })
  }

  return {
    name: 'file',
    describe: () => `the encrypted file ${printable(path)}`,
    get: async (account, signal, by) => {
      const secrets = await read(signal, by)
      return Object.hasOwn(secrets, keyOf(account)) ? secrets[keyOf(account)] : undefined
    },
    set: async (account, value, signal) => {
      await change((old) => ({ ...old, [keyOf(account)]: value }), signal)
    },
    delete: async (account, signal) => {
      if ((await sealedAt(path)) === undefined) return false
      return change((old) => {
        const { [keyOf(account)]: removed, ...rest } = old
        return removed === undefined ? undefined : rest
      }, signal)
    },
    list: async (signal) => accountsOf(Object.keys(await read(signal))),
  }
}

const sealedAt = async (path: string): Promise<Sealed | undefined> => {
  const text = await readPrivate(path)
  try {
    return text === undefined ? undefined : parseSealed(text)
  } catch (failure) {
    throw damaged(path, failure)
  }
}

const opened = (path: string, sealed: Sealed, key: Key): Secrets => {
  try {
    return unseal(sealed, key)
  } catch (failure) {
    throw damaged(path, failure)
  }
}

const underLock = async <T>(path: string, work: () => Promise<T>): Promise<T> => {
  const lock = `${path}.lock`
  try {
    await makeDirs(dirname(path))
    return await exclusively(lock, work)
  } catch (failure) {
    if (failure instanceof DproxyError && failure.code !== 'SOCKET_FAILED') throw failure
    const why = failure instanceof Error ? printable(failure.message) : String(failure)
    throw new DproxyError(
      'SECRET_STORE_FAILED',
      `the encrypted file ${printable(path)} cannot be locked: ${why}`,
      {
        hint: `remove ${printable(lock)} if no other dproxy is at work, and see that its directory can be written to`,
        cause: failure,
      },
    )
  }
}

const wrongPassphrase = (path: string): DproxyError =>
  new DproxyError(
    'SECRET_STORE_LOCKED',
    `the passphrase does not open the encrypted file ${printable(path)}`,
    {
      hint: 'try again with the one it was made with; without it, delete the file and store the secrets anew',
    },
  )

const damaged = (path: string, thrown: unknown): DproxyError =>
  thrown instanceof Damaged
    ? new DproxyError(
        'SECRET_STORE_FAILED',
        `the encrypted file ${printable(path)} is damaged: ${thrown.message}`,
        {
          hint: 'restore it from a backup, or delete it and store the secrets anew',
        },
      )
    : (thrown as DproxyError)

const changedMeanwhile = (path: string): DproxyError =>
  new DproxyError('SECRET_STORE_FAILED', `another process replaced ${printable(path)} meanwhile`, {
    hint: 'try again',
  })
