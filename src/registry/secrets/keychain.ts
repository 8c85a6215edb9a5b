import { createRequire } from 'node:module'
import { DproxyError } from '../../base/errors.js'
import type { Env } from '../../base/paths.js'
import { within } from '../../base/timeout.js'
import { sessionBus } from './dbus/address.js'
import {
  busFailure,
  died,
  failed,
  locked,
  missingPackage,
  noCollection,
  noSession,
  tooSlow,
  unloadable,
} from './keychain-errors.js'
import { callKeytar, type KeytarCall } from './keytar-process.js'
import { holdings, type Holdings } from './secret-service.js'
import { accountsOf, keyOf, type SecretStore } from './store.js'

/** The name under which the keychain keeps our items. */
export const SERVICE = 'dproxy'
const LIMIT_MS = 3000

export interface KeychainOptions {
  readonly env: Env
  readonly platform?: NodeJS.Platform
  /** Finds keytar; throws when it is not installed. */
  readonly locate?: () => string
  /** How long one call may take altogether. */
  readonly limitMs?: number
}

/**
 * The keychain of the operating system, through keytar: the Secret Service on Linux, the Keychain on macOS. Where
 * the Secret Service would ask the user to unlock it, we say that it is locked and ask nothing.
 */
export const keychain = ({
  env,
  platform = process.platform,
  locate = locateKeytar,
  limitMs = LIMIT_MS,
}: KeychainOptions): SecretStore => {
  const linux = platform === 'linux'

  const bounded =
    (changing: boolean) =>
    <T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> =>
      within(limitMs, signal, () => tooSlow(limitMs, changing), work)
  const reading = bounded(false)
  const changing = bounded(true)

  /** What is there; undefined where only keytar can tell. */
  const look = async (key: string | undefined, signal: AbortSignal): Promise<Holdings | undefined> => {
    if (!linux) return undefined
    const bus = sessionBus(env)
    if (bus === undefined) throw noSession(env)
    const attributes = { service: SERVICE, ...(key === undefined ? {} : { account: key }) }
    return holdings(bus.path, attributes, signal).catch((failure: unknown) => {
      signal.throwIfAborted()
      throw busFailure(failure)
    })
  }

  const call = async (asked: KeytarCall, signal: AbortSignal): Promise<unknown> => {
    // The address that we found is the one it must use, wherever its own search would end.
    const session = { ...env, DBUS_SESSION_BUS_ADDRESS: linux ? sessionBus(env)?.address : undefined }
    const answer = await callKeytar(located(locate), asked, session, signal)
    switch (answer.kind) {
      case 'done':
        return answer.value
      case 'failed':
        throw failed(answer.why)
      case 'unloadable':
        throw unloadable(answer.why)
      case 'died':
        throw died(answer.why)
      default:
        return answer satisfies never
    }
  }

  return {
    name: 'keychain',
    describe: () => 'the keychain',
    get: (account, signal) =>
      reading(signal, async (limit) => {
        const key = keyOf(account)
        if (isSurelyEmpty(await look(key, limit))) return undefined
        const value = await call({ call: 'getPassword', words: [SERVICE, key] }, limit)
        return typeof value === 'string' ? value : undefined
      }),
    set: (account, value, signal) =>
      changing(signal, async (limit) => {
        const key = keyOf(account)
        const { locked: hidden = 0, collection = 'open' } = (await look(key, limit)) ?? {}
        if (collection === 'locked' || hidden > 0) throw locked()
        if (collection === 'none') throw noCollection()
        await call({ call: 'setPassword', words: [SERVICE, key, value] }, limit)
      }),
    delete: (account, signal) =>
      changing(signal, async (limit) => {
        const key = keyOf(account)
        if (isSurelyEmpty(await look(key, limit))) return false
        return (await call({ call: 'deletePassword', words: [SERVICE, key] }, limit)) === true
      }),
    list: (signal) =>
      reading(signal, async (limit) => {
        const there = await look(undefined, limit)
        if (there === undefined) {
          return accountsOf((await call({ call: 'findCredentials', words: [SERVICE] }, limit)) as string[])
        }
        if (mayHide(there)) throw locked()
        return accountsOf(there.readable.flatMap(({ account }) => account ?? []))
      }),
  }
}

/**
 * False where keytar has something to read, or must find out itself.
 * @throws DproxyError SECRET_STORE_LOCKED when there may be something that cannot be seen
 */
const isSurelyEmpty = (there: Holdings | undefined): boolean => {
  if (there === undefined || there.readable.length > 0) return false
  if (mayHide(there)) throw locked()
  return true
}

const mayHide = ({ readable, locked: hidden, collection }: Holdings): boolean =>
  hidden > 0 || (readable.length === 0 && collection === 'locked')

const located = (locate: () => string): string => {
  try {
    return locate()
  } catch (failure) {
    if (failure instanceof DproxyError) throw failure
    throw missingPackage(failure)
  }
}

const locateKeytar = (): string => createRequire(import.meta.url).resolve('keytar')
