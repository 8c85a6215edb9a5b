// The rules by which OpenSSH takes a host or user name from its command line (readconf.c, ssh_valid_hostname
// and ssh_valid_ruser): such names end in `%h` and `%r` of a ProxyCommand, which a shell reads.
const HOST_FORBIDS = /['`"$\\;&<>|(){},]/u
const USER_FORBIDS = /['`";&<>|(){}]/u
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/u

const LONGEST = 255

/** What is wrong with a host name or ssh_config alias, as the end of a sentence; undefined when nothing is. */
export const hostNameProblem = (host: string): string | undefined => {
  if (host === '') return 'must name a host'
  if (host.startsWith('-')) return 'must not have a host name that begins with "-"'
  if (CONTROL.test(host)) return 'must not have control characters in the host name'
  if (/\s/u.test(host)) return 'must not have a space in the host name'
  const [character] = HOST_FORBIDS.exec(host) ?? []
  if (character !== undefined) return `must not have ${character} in the host name`
  if (host.length > LONGEST) return `must not have a host name longer than ${LONGEST} characters`
  return undefined
}

/** What is wrong with a remote user's name, as the end of a sentence; undefined when nothing is. */
export const userNameProblem = (user: string): string | undefined => {
  if (user === '') return 'must name a user before the "@"'
  if (user.startsWith('-')) return 'must not have a user name that begins with "-"'
  if (CONTROL.test(user)) return 'must not have control characters in the user name'
  const [character] = USER_FORBIDS.exec(user) ?? []
  if (character !== undefined) return `must not have ${character} in the user name`
  // A word that begins with "-" would be taken for an option wherever the name is split at spaces.
  if (/\s-/u.test(user)) return 'must not have "-" after a space in the user name'
  if (user.endsWith('\\')) return 'must not have a user name that ends with "\\"'
  if (user.length > LONGEST) return `must not have a user name longer than ${LONGEST} characters`
  return undefined
}
