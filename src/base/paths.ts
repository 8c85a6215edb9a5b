import { homedir, tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'

/** The environment variables a path may depend on; `process.env` in production. */
export type Env = Readonly<Record<string, string | undefined>>

// sun_path holds 108 bytes on Linux and 104 on macOS and the BSDs, the trailing NUL included (unix(7)).
// Node truncates a longer path without a word, so every path is checked against this before use.
export const LONGEST_SOCKET_PATH = process.platform === 'linux' ? 107 : 103

/** The user's numeric id; -1 where the system has none (Windows). */
export const ownUid = (): number => process.getuid?.() ?? -1

/** `$HOME`, else what the password database says. */
export const homeOf = (env: Env): string => env.HOME || homedir()

/** The login name, for an SSH destination that names no user. */
export const ownUserName = (): string => userInfo().username

// The XDG base directory specification: a relative or empty value counts as unset.
const xdg = (env: Env, variable: string, fallback: string): string => {
  const value = env[variable]
  return value?.startsWith('/') ? value : join(homeOf(env), fallback)
}

/** Where the control socket and the start lock live: ours alone (0700), gone with the login session. */
export const runtimeDir = (env: Env): string => {
  if (env.DPROXY_RUNTIME_DIR) return env.DPROXY_RUNTIME_DIR
  const base = env.XDG_RUNTIME_DIR
  return base?.startsWith('/') ? join(base, 'dproxy') : join(tmpdir(), `dproxy-${ownUid()}`)
}

/** Every file name of ours, in one place. */
export const controlSocketPath = (env: Env): string => join(runtimeDir(env), 'control.sock')
/** Where a supervisor is spoken to until it takes the running one's place. */
export const successorSocketPath = (env: Env): string => join(runtimeDir(env), 'next.sock')
/** What the supervisor runs, for whoever comes after one that has ended without a word. */
export const runRecordPath = (env: Env): string => join(runtimeDir(env), 'running.json')
export const stateDir = (env: Env): string => join(xdg(env, 'XDG_STATE_HOME', '.local/state'), 'dproxy')
export const logPath = (env: Env): string => join(stateDir(env), 'dproxy.log')
export const userConfigPath = (env: Env): string =>
  join(xdg(env, 'XDG_CONFIG_HOME', '.config'), 'dproxy', 'config.yaml')

/** `~` and `~/x` as the shell expands them; every other path as it is. */
export const expandHome = (path: string, env: Env): string =>
  path === '~' ? homeOf(env) : path.startsWith('~/') ? join(homeOf(env), path.slice(2)) : path
