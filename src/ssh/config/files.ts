import type { Env } from '../../base/paths.js'
import type { Target } from '../target.js'
import type { SshConfig } from './ssh-config.js'
import { expandPath, expandSshHome, type Tokens } from './tokens.js'

/** The private key files to try, in order. */
export const identityFilesOf = (
  { identityFiles }: Target,
  config: SshConfig,
  tokens: Tokens,
  env: Env,
): readonly string[] => {
  if (identityFiles.length > 0) return identityFiles
  const lines = config.all('identityfile')
  return pathsOf(lines.length > 0 ? lines : USUAL_IDENTITIES, tokens, env, 'IdentityFile')
}

/** The files that ssh offers as certificates; they need not exist. */
export const certificateFilesOf = (
  config: SshConfig,
  identityFiles: readonly string[],
  tokens: Tokens,
  env: Env,
): readonly string[] => {
  const lines = config.all('certificatefile')
  // Only where none is named does the one beside the key count (ssh_config(5), IdentityFile).
  return lines.length > 0
    ? pathsOf(lines, tokens, env, 'CertificateFile')
    : identityFiles.flatMap((file) => [`${file}-cert`, `${file}-cert.pub`])
}

/** The user's known_hosts files, then the machine's. Unlike the others, `ssh -G` prints them expanded. */
export const knownHostsFilesOf = ({ knownHostsFiles }: Target, config: SshConfig): readonly string[] => {
  if (knownHostsFiles) return knownHostsFiles
  const ours = namesIn(config.one('userknownhostsfile') ?? '~/.ssh/known_hosts ~/.ssh/known_hosts2')
  const all = config.one('globalknownhostsfile') ?? '/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2'
  // A key that is accepted goes into the first file, and must never go into the machine's.
  return [...(ours.length > 0 ? ours : ['/dev/null']), ...namesIn(all)]
}

/** Which agent to ask, as IdentityAgent says; `ssh -G` has expanded all of it but `$VARIABLE`. */
export const agentOf = (
  config: SshConfig,
  env: Env,
): 'environment' | 'none' | { readonly socket: string } => {
  const said = config.one('identityagent') ?? 'SSH_AUTH_SOCK'
  if (said === 'none') return said
  if (said === 'SSH_AUTH_SOCK') return 'environment'
  const socket = /^\$[^{]/u.test(said) ? env[said.slice(1)] : expandSshHome(said)
  return socket ? { socket } : 'none'
}

// Those that ssh2 can use, in ssh's order.
const USUAL_IDENTITIES = ['~/.ssh/id_rsa', '~/.ssh/id_ecdsa', '~/.ssh/id_ed25519']

const pathsOf = (paths: readonly string[], tokens: Tokens, env: Env, keyword: string): string[] =>
  paths.filter(isName).map((path) => expandPath(path, tokens, env, keyword))

const isName = (path: string): boolean => path !== '' && path.toLowerCase() !== 'none'

/**
 * The files in a line of several. `ssh -G` joins them with blanks and leaves out the quotes around a name that
 * has blanks itself, so a new name is taken to begin only where an absolute path can.
 */
export const namesIn = (line: string): string[] =>
  line
    .split(/ +(?=[/~])/u)
    .filter(isName)
    .map(expandSshHome)
