import { readFile } from 'node:fs/promises'
import { userInfo } from 'node:os'

/**
 * True when `gid` is the user's private group, in which nobody else can be: Debian and Fedora give every user
 * one, and let files be group-writable by default where they do (umask 002). False whenever that is not certain,
 * as with accounts from a directory service, whose other members no file tells.
 */
export const isOwnPrivateGroup = async (gid: number): Promise<boolean> => {
  // On macOS every user's group is `staff`, and its members are in no file.
  if (process.platform !== 'linux' || userInfo().gid !== gid) return false
  try {
    const [passwd, group] = await Promise.all([
      readFile('/etc/passwd', 'utf8'),
      readFile('/etc/group', 'utf8'),
    ])
    return isPrivateGroup(gid, userInfo().username, { passwd, group })
  } catch {
    return false
  }
}

/** The same, of any user, by what /etc/passwd and /etc/group (passwd(5), group(5)) say. */
export const isPrivateGroup = (
  gid: number,
  user: string,
  { passwd, group }: { passwd: string; group: string },
): boolean => {
  const users = fieldsOf(passwd).filter(([, , , primary]) => primary === String(gid))
  const groups = fieldsOf(group).filter(([, , id]) => id === String(gid))
  const members = groups.flatMap(([, , , names = '']) => names.split(',')).filter((name) => name !== '')
  return (
    users.length === 1 &&
    users[0]?.[0] === user &&
    groups.length === 1 &&
    groups[0]?.[0] === user &&
    members.every((name) => name === user)
  )
}

const fieldsOf = (table: string): string[][] =>
  table.split('\n').flatMap((line) => (line === '' || line.startsWith('#') ? [] : [line.split(':')]))
