import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { execa, ExecaError } from 'execa'
import { formatDuration } from '../../base/duration.js'
import { DproxyError, errnoOf } from '../../base/errors.js'
import type { Env } from '../../base/paths.js'
import { printable } from '../../base/text.js'
import { within } from '../../base/timeout.js'
import { DEFAULT_CONNECT_TIMEOUT_MS, type Target } from '../target.js'
import { notObeyed, notTold } from './not-obeyed.js'
import { inTurn } from './program-turns.js'
import { SshConfig } from './ssh-config.js'
import { sshHome } from './tokens.js'

/** ssh's configuration for one target, and what ssh goes by where no file says anything. */
export interface Configs {
  readonly config: SshConfig
  readonly defaults: SshConfig
}

/**
 * Asks the installed ssh what it would go by (`ssh -G`, ssh(1): it prints the configuration and exits without
 * connecting; commands of `Match exec` run, as they do for ssh itself). Both are empty where there is no ssh.
 * @throws DproxyError CONFIG_INVALID, or RESOLVE_FAILED when ssh takes too long
 */
export const readSshConfig = async (target: Target, env: Env, signal: AbortSignal): Promise<Configs> => {
  try {
    const said = inTurn(() => sshG(wordsOf(target, env), target, env, signal), signal)
    const [output, usual] = await Promise.all([said, builtIn(env)])
    return { config: new SshConfig(output), defaults: new SshConfig(usual) }
  } catch (failure) {
    signal.throwIfAborted()
    if (failure instanceof DproxyError) throw failure
    if (errnoOf(failure) !== 'ENOENT') throw explained(failure, target, env)
    await refuseUnreadConfig(env)
    return { config: new SshConfig(''), defaults: new SshConfig('') }
  }
}

const wordsOf = ({ destination, user, port, proxyJump, proxyCommand }: Target, env: Env): string[] => [
  ...fileWords(env),
  ...(user === null ? [] : ['-l', user]),
  ...(port === null ? [] : ['-p', String(port)]),
  // What the target says itself overrides both; ssh would otherwise complain about a jump host that jumps
  // through itself, which a chain of hops never asks it to.
  ...(proxyJump === null && proxyCommand === null ? [] : ['-o', 'ProxyJump=none']),
  // The names were checked by OpenSSH's own rules, so that none can become an option; `--` makes sure of it
  // once more (CVE-2017-1000117).
  '--',
  destination,
]

// DPROXY_SSH_CONFIG stands in for ~/.ssh/config and /etc/ssh/ssh_config, as ssh's own -F does.
const fileWords = ({ DPROXY_SSH_CONFIG: file }: Env): string[] =>
  file ? ['-F', file === 'none' ? file : resolve(file)] : []

const sshG = async (
  words: readonly string[],
  { destination, connectTimeoutMs }: Pick<Target, 'destination' | 'connectTimeoutMs'>,
  env: Env,
  signal: AbortSignal,
): Promise<string> => {
  // Nobody would listen to a child that is started after the wait for it was given up.
  signal.throwIfAborted()
  // -T: no remark about the missing terminal. ControlPath is not used, but printed expanded: it tells what
  // the token %C stands for, whose recipe differs between versions.
  const ssh = execa('ssh', ['-G', '-T', '-o', 'ControlPath=%C', ...words], {
    stdin: 'ignore',
    // A working directory that is gone would make the program look missing, and its configuration with it.
    cwd: '/',
    env,
    extendEnv: false,
    // A group of its own, to be ended as one: a command of `Match exec` would outlive ssh and hold its stderr.
    detached: true,
  })
  const limitMs = connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS
  try {
    const { stdout } = await within(
      limitMs,
      signal,
      () => late(destination, limitMs, env),
      () => ssh,
    )
    return stdout
  } catch (failure) {
    if (ssh.exitCode === null && ssh.pid !== undefined) endGroup(ssh.pid)
    throw failure
  }
}

const endGroup = (pid: number): void => {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // ESRCH: nobody is left.
  }
}

const late = (destination: string, limitMs: number, env: Env): Error =>
  notTold(
    `ssh did not tell its configuration for ${printable(destination)} within ${formatDuration(limitMs)}`,
    `does a command of "Match exec" hang? see: ${sshGLine(destination, env)}`,
  )

// What ssh goes by without any file does not change while we run; so one call serves every host.
let askedBuiltIn: Promise<string> | undefined
const builtIn = (env: Env): Promise<string> => {
  askedBuiltIn ??= sshG(BUILT_IN_WORDS, BUILT_IN, env, new AbortController().signal).catch(
    (failure: unknown) => {
      askedBuiltIn = undefined
      throw failure
    },
  )
  return askedBuiltIn
}

const BUILT_IN = { destination: 'default', connectTimeoutMs: null }
const BUILT_IN_WORDS = ['-F', 'none', '--', BUILT_IN.destination]

const explained = (failure: unknown, { destination }: Target, env: Env): Error => {
  const said = failure instanceof ExecaError ? failure.stderr || failure.shortMessage : String(failure)
  const name = printable(destination)
  if (said.includes('jumphost loop')) {
    return notObeyed(
      `the ProxyJump of ${name} in ssh's configuration leads back to ${name} itself`,
      `let it be reached directly: put "ProxyJump none" under "Host ${name}", above the other`,
      failure,
    )
  }
  return notObeyed(
    `ssh could not read its configuration for ${name}: ${complaint(said)}`,
    `see what it says: ${sshGLine(destination, env)}`,
    failure,
  )
}

const sshGLine = (destination: string, env: Env): string =>
  ['ssh', '-G', ...fileWords(env), '--', destination].map(printable).join(' ')

// ssh ends with a mere count of its complaints; the line before says which.
const complaint = (said: string): string => {
  const lines = said.split(/\r?\n/u).filter((line) => line.trim() !== '' && !line.includes(': terminating, '))
  return printable(lines.slice(-2).join('; ') || said)
}

/** To pass over the user's configuration could lead to another machine of the same name. */
const refuseUnreadConfig = async (env: Env): Promise<void> => {
  const chosen = env.DPROXY_SSH_CONFIG
  if (chosen === 'none') return
  const file = chosen ? resolve(chosen) : join(sshHome(), '.ssh', 'config')
  const text = await readFile(file, 'utf8').catch((failure: unknown) =>
    ['ENOENT', 'ENOTDIR'].includes(errnoOf(failure) ?? '') ? '' : String(failure),
  )
  if (/^\s*[^#\s]/mu.test(text)) {
    throw notObeyed(
      `${printable(file)} cannot be obeyed, since the ssh program that reads it was not found`,
      'install OpenSSH (apt install openssh-client), or do without that file: DPROXY_SSH_CONFIG=none',
    )
  }
}
