import { isIPv6 } from 'node:net'
import { placeText, sshUrl } from '../base/ssh-url.js'
import type { Destination } from './destination.js'

/** A place to log in to, as `ssh:` takes it: `prod-fra`, `me@box`, or `ssh://me@box:22`. */
export const sshText = (place: Destination): string => {
  const { destination, user, port } = place
  const isPlain = !isIPv6(destination) && (user === null || /^[\w.-]+$/u.test(user))
  return port === null && isPlain ? placeText(place) : sshUrl(place)
}
