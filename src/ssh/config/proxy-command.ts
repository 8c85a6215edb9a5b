import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { DproxyError, errnoOf } from '../../base/errors.js'
import type { Env } from '../../base/paths.js'
import { printable } from '../../base/text.js'
import type { Resolved } from '../target.js'
import { ProxyStream } from './proxy-stream.js'

export interface ProxyOptions {
  /** The child's whole environment. */
  readonly env: Env
  /** Whether to start at all; what has started is ended by destroying the stream. */
  readonly signal: AbortSignal
  /** For messages. */
  readonly resolved: Pick<Resolved, 'alias'>
}

/**
 * Starts a proxy command whose input and output are the connection (ssh_config(5), ProxyCommand). It runs in a
 * process group of its own, which never outlives the stream.
 * @throws DproxyError PROXY_FAILED when it cannot start; when it ends too early the stream fails with that
 */
export const openProxyCommand = async (
  words: readonly string[],
  { env, signal, resolved }: ProxyOptions,
): Promise<ProxyStream> => {
  signal.throwIfAborted()
  const name = `the proxy command of ${printable(resolved.alias)} (${programOf(words)})`
  try {
    return new ProxyStream(await start(words, env), name)
  } catch (failure) {
    const why =
      errnoOf(failure) === 'ENOENT' ? 'there is no such program' : (errnoOf(failure) ?? String(failure))
    throw new DproxyError('PROXY_FAILED', `${name} cannot start: ${why}`, {
      stage: 'connect',
      hint: 'is the program installed, and in the PATH that dproxy was started with?',
      cause: failure,
    })
  }
}

const start = async (
  [program = '', ...words]: readonly string[],
  env: Env,
): Promise<ChildProcessWithoutNullStreams> => {
  // A working directory that is gone would make the program look missing.
  const child = spawn(program, words, { cwd: '/', env, stdio: 'pipe', detached: true })
  if (child.pid === undefined) {
    const [failure] = (await once(child, 'error')) as [Error]
    throw failure
  }
  return child
}

// Only the program: the rest of the line may hold a password for the proxy.
const programOf = ([program = '', flag, line = '']: readonly string[]): string => {
  const shown = flag === '-c' ? line.replace(/^exec\s+/u, '') : program
  return printable(/^\S*/u.exec(shown)?.[0] ?? '')
}
