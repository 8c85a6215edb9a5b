import { createHmac, randomBytes } from 'node:crypto'
import { isIPv6, SocketAddress } from 'node:net'
import type { HostKeyName } from '../target.js'
import { asciiLower, listNames } from './patterns.js'

const SSH_PORT = 22

/** What lines name this server by: `host`, `[host]:port`, or the alias as it is. For ssh-keygen -F and -R, too. */
export const knownHostsName = (name: HostKeyName): string =>
  name.alias ?? (name.port === SSH_PORT ? hostOf(name) : `[${hostOf(name)}]:${name.port}`)

/** The name without the port, where lines for it count as a fallback; undefined where there is none. */
export const nameWithoutPort = (name: HostKeyName): string | undefined =>
  name.alias === null && name.port !== SSH_PORT ? hostOf(name) : undefined

/** What a certificate must name: never with a port. */
export const principalOf = (name: HostKeyName): string => name.alias ?? hostOf(name)

/** Tells whether the first field of a line (as latin1) names `name`. */
export const namer = (name: string): ((hosts: string) => boolean) => {
  const bytes = Buffer.from(name).toString('latin1')
  return (hosts) => (hosts.startsWith('|') ? hosts === hashedAlike(hosts, name) : listNames(hosts, bytes))
}

/** The name as HashKnownHosts of ssh_config(5) writes it: `|1|salt|HMAC-SHA1`. */
export const hashedName = (name: string, salt: Buffer = randomBytes(SALT_BYTES)): string =>
  `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`

/** A field of known_hosts that names exactly `name`; hashed if asked for, or if it could be read as a pattern. */
export const fieldFor = (name: string, hashed: boolean): string =>
  hashed || !/^[\w.:[\]%-]+$/u.test(name) ? hashedName(name) : asciiLower(name)

const SALT_BYTES = 20

const hashedAlike = (hosts: string, name: string): string | undefined => {
  const [, version, salt = ''] = hosts.split('|', 3)
  const bytes = Buffer.from(salt, 'base64')
  return version === '1' && bytes.length === SALT_BYTES ? hashedName(name, bytes) : undefined
}

// As getnameinfo(3) writes an address, which is what ssh looks up: `::1` for `0:0:0:0:0:0:0:1`.
const hostOf = ({ host }: HostKeyName): string => {
  const [address = '', ...zone] = asciiLower(host).split('%')
  if (!isIPv6(address)) return asciiLower(host)
  return [new SocketAddress({ address, family: 'ipv6' }).address, ...zone].join('%')
}
