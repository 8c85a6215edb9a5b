import { isIPv6 } from 'node:net'
import type { Destination } from './destination.js'

/** A place to log in to, as `ssh:` takes it: `prod-fra`, `me@box`, or `ssh://me@box:22`. */
export const sshText = ({ destination, user, port }: Destination): string => {
  const isPlain = !isIPv6(destination) && (user === null || /^[\w.-]+$/u.test(user))
  if (port === null && isPlain) return user === null ? destination : `${user}@${destination}`
  // RFC 6874 writes the "%" before a zone as "%25".
  const host = isIPv6(destination) ? `[${destination.replace('%', '%25')}]` : destination
  return `ssh://${user === null ? '' : `${encodeURIComponent(user)}@`}${host}${port === null ? '' : `:${port}`}`
}
