import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Env } from '../../../base/paths.js'

/** Where a session's bus listens: a Unix socket. */
export interface BusAddress {
  /** For connect(2); an abstract one begins with NUL. */
  readonly path: string
  /** The same in the words of DBUS_SESSION_BUS_ADDRESS. */
  readonly address: string
}

/**
 * The message bus of the user's session, as every D-Bus client finds it: DBUS_SESSION_BUS_ADDRESS, else the
 * socket `bus` in the run directory. undefined when there is none, or none on a Unix socket.
 */
export const sessionBus = (env: Env): BusAddress | undefined => {
  const { DBUS_SESSION_BUS_ADDRESS: given, XDG_RUNTIME_DIR: dir } = env
  if (given)
    return given
      .split(';')
      .map(parse)
      .find((address) => address !== undefined)
  const path = dir?.startsWith('/') ? join(dir, 'bus') : undefined
  return path !== undefined && existsSync(path) ? { path, address: `unix:path=${path}` } : undefined
}

// D-Bus specification, "Server Addresses": `unix:path=/run/user/1000/bus,guid=…`, with %-escapes.
const parse = (address: string): BusAddress | undefined => {
  const [, pairs] = /^unix:(.*)$/su.exec(address) ?? []
  const words = new Map(pairs?.split(',').map((pair) => pair.split('=', 2) as [string, string]))
  const path = unescaped(words.get('path'))
  const abstract = unescaped(words.get('abstract'))
  if (path) return { path, address }
  return abstract ? { path: `\0${abstract}`, address } : undefined
}

const unescaped = (value: string | undefined): string | undefined => {
  try {
    return value === undefined ? undefined : decodeURIComponent(value)
  } catch {
    return undefined
  }
}
