import { Bus, BusError } from './dbus/bus.js'
import type { Value } from './dbus/wire.js'

/** What the keychain says about itself and our items in it, without anything being unlocked or shown. */
export interface Holdings {
  /** The attributes of our items whose secret could be read now. */
  readonly readable: readonly Readonly<Record<string, string>>[]
  /** How many of our items are in a locked collection. */
  readonly locked: number
  /** The collection that new items go to. */
  readonly collection: 'open' | 'locked' | 'none'
}

/**
 * Asks the Secret Service (freedesktop.org, "Secret Storage Specification") on a session's bus for items with
 * these attributes. Never makes it ask the user anything, and reads no secret.
 * @param path of the bus' socket
 * @throws BusError, a system error, or the signal's reason
 */
export const holdings = async (
  path: string,
  attributes: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Holdings> => {
  using bus = await Bus.connect(path, signal)
  const [readable = [], locked = []] = (await bus.call({
    ...SERVICE,
    member: 'SearchItems',
    body: [attributes],
  })) as readonly (readonly string[])[]
  const items: Readonly<Record<string, string>>[] = []
  for (const item of readable) items.push(await attributesOf(bus, item))
  return { readable: items, locked: locked.length, collection: await defaultCollection(bus) }
}

const defaultCollection = async (bus: Bus): Promise<Holdings['collection']> => {
  const [path] = await bus.call({ ...SERVICE, member: 'ReadAlias', body: ['default'] })
  if (typeof path !== 'string' || path === NONE) return 'none'
  return (await property(bus, path, 'org.freedesktop.Secret.Collection', 'Locked')) === false
    ? 'open'
    : 'locked'
}

const attributesOf = async (bus: Bus, item: string): Promise<Record<string, string>> => {
  const pairs = await property(bus, item, 'org.freedesktop.Secret.Item', 'Attributes').catch(whenGone)
  return Object.fromEntries((pairs ?? []) as readonly (readonly [string, string])[])
}

/** Somebody else may have removed the item just now. */
const whenGone = (failure: unknown): undefined => {
  if (failure instanceof BusError) return undefined
  throw failure
}

const property = async (bus: Bus, path: string, owner: string, name: string): Promise<Value | undefined> => {
  const call = { destination: SERVICE.destination, path, interface: 'org.freedesktop.DBus.Properties' }
  return (await bus.call({ ...call, member: 'Get', body: [owner, name] }))[0]
}

const SERVICE = {
  destination: 'org.freedesktop.secrets',
  path: '/org/freedesktop/secrets',
  interface: 'org.freedesktop.Secret.Service',
} as const

// The path that stands for no object at all.
const NONE = '/'
