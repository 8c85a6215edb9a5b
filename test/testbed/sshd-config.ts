import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ownUid } from '../../src/base/paths.js'
import type { Netns } from './netns.js'
import { namespaces, program } from './parts.js'

export interface SshdConfig {
  dir: string
  /** Where it listens, in `netns` if that is given. */
  host: string
  port: number
  netns: Netns | undefined
  options: readonly string[]
  /** Names in `dir`. */
  hostKeyFiles: readonly string[]
  /** Sockets of this machine, by the paths at which its sessions see them. */
  sockets: Readonly<Record<string, string>>
}

/** What sshd_config(5) must say for a server that needs nothing of the machine's own. */
export const sshdConfig = async ({ dir, host, port, options, hostKeyFiles }: SshdConfig): Promise<string> =>
  [
    ...options,
    `ListenAddress ${host}`,
    `Port ${port}`,
    ...hostKeyFiles.map((name) => `HostKey ${join(dir, name)}`),
    `AuthorizedKeysFile ${join(dir, 'authorized_keys')}`,
    `PidFile ${join(dir, 'sshd.pid')}`,
    `UsePAM ${(await isLocked()) ? 'yes' : 'no'}`,
    // Directories above ours may be writable by others, as /tmp is.
    'StrictModes no',
    'PermitRootLogin yes',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'PrintMotd no',
    // Many tests log in at once, and some fail to on purpose. Of this word alone, the last value counts.
    ...(options.some((line) => /^MaxStartups\b/iu.test(line)) ? [] : ['MaxStartups 500']),
    // Without a home of our own: bash reads ~/.bashrc for a remote command, unless it is not the first shell.
    ...(namespaces() ? [] : ['SetEnv SHLVL=1']),
    ...((await versionOfSshd()) >= 9.8 ? ['PerSourcePenalties no'] : []),
    'Subsystem sftp internal-sftp',
    'LogLevel VERBOSE',
    '',
  ].join('\n')

/**
 * The command that starts the server. Root's sshd insists on /run/sshd; in a mount namespace /run is ours to
 * fill, a Docker socket can stand where every client looks for it, and the home directory is an empty one.
 */
export const launcherOf = ({ dir, sockets }: SshdConfig): string[] => {
  // sshd starts itself anew for each connection, and wants its absolute path for that.
  const sshd = [program('sshd') ?? 'sshd', '-D', '-f', join(dir, 'sshd_config'), '-E', join(dir, 'sshd.log')]
  const places = [...Object.entries(sockets).flat(), '--']
  if (namespaces()) return ['sh', '-c', APART, 'sh', homeIn(dir), userInfo().homedir, ...places, ...sshd]
  return ownUid() === 0 ? ['sh', '-c', 'mkdir -p /run/sshd && exec "$@"', 'sh', ...sshd] : sshd
}

/** What its sessions have for a home directory, where namespaces allow it. */
export const homeIn = (dir: string): string => join(dir, 'home')

const APART = `set -e
home=$1 real=$2
shift 2
mount -t tmpfs none /run
mkdir -m 755 /run/sshd
mount --bind "$home" "$real"
while [ "$1" != -- ]; do
  mkdir -p "$(dirname "$1")"
  ln -sfn "$2" "$1"
  shift 2
done
shift
exec "$@"`

// Ubuntu locks root's password with a "!", and without PAM sshd takes that for a locked account.
const isLocked = async (): Promise<boolean> => {
  if (ownUid() !== 0) return false
  const shadow = await readFile('/etc/shadow', 'utf8')
  return shadow.split('\n').some((line) => line.startsWith(`${userInfo().username}:!`))
}

// Versions that do not know -V say theirs in the complaint.
export const versionOfSshd = async (): Promise<number> => {
  const answer = promisify(execFile)(program('sshd') ?? 'sshd', ['-V'])
  const { stderr } = await answer.catch((failure: { stderr: string }) => failure)
  return Number(/OpenSSH_(\d+\.\d+)/u.exec(stderr)?.[1] ?? 0)
}
