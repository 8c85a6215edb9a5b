import { execa } from 'execa'
import { DproxyError, errnoOf } from '../../base/errors.js'
import type { Env } from '../../base/paths.js'
import { printable } from '../../base/text.js'
import { within } from '../../base/timeout.js'
import { MASTER_VARIABLE } from './master.js'

export interface SecretCommandOptions {
  readonly env: Env
  readonly signal: AbortSignal
  /** Past this it is killed, with all that it started. */
  readonly limitMs?: number
}

const LIMIT_MS = 30_000
const LARGEST_OUTPUT = 64 * 1024

/**
 * Runs a program that prints a secret, such as `pass show prod`: words, no shell. The first line of its output is
 * the secret. It gets no input and no terminal.
 * @throws DproxyError SECRET_MISSING that names the program, never its arguments nor its output; the signal's reason
 */
export const runSecretCommand = async (
  words: readonly string[],
  { env, signal, limitMs = LIMIT_MS }: SecretCommandOptions,
): Promise<string> => {
  const [program = '', ...rest] = words
  const late = () => failure(program, `did not end within ${limitMs / 1000} s and was stopped`)
  return within(limitMs, signal, late, async (limit) => {
    const { stdout, stderr, code, errno, overflowed } = await ended(program, rest, env, limit)
    limit.throwIfAborted()
    if (errno === 'ENOENT') throw failure(program, 'cannot be started: there is no such program')
    if (errno !== undefined) throw failure(program, `cannot be started: ${errno}`)
    if (overflowed) throw failure(program, 'printed more than 64 KiB')
    if (code !== 0) throw failure(program, `failed (${code})${lastWords(stderr, stdout)}`)
    return secretIn(stdout, program)
  })
}

interface Ended {
  readonly stdout: Uint8Array
  readonly stderr: Uint8Array
  /** The exit code, or the name of the signal that ended it. */
  readonly code: number | string
  /** Why it could not be started. */
  readonly errno: string | undefined
  readonly overflowed: boolean
}

const ended = async (
  program: string,
  words: readonly string[],
  env: Env,
  signal: AbortSignal,
): Promise<Ended> => {
  const child = execa(program, words, {
    stdin: 'ignore',
    env: { ...env, [MASTER_VARIABLE]: undefined },
    extendEnv: false,
    cwd: '/',
    // A group of its own, so that all of it can be ended: a wrapper's child would keep the output open.
    detached: true,
    encoding: 'buffer',
    maxBuffer: LARGEST_OUTPUT,
    killSignal: 'SIGKILL',
    verbose: 'none',
    reject: false,
  })
  const stop = () => {
    killGroup(child.pid)
    // Who left the group may still hold the other end.
    child.stdout.destroy()
    child.stderr.destroy()
  }
  signal.addEventListener('abort', stop, { once: true })
  try {
    const { stdout, stderr, exitCode, signal: killedBy, isMaxBuffer, cause } = await child
    if (isMaxBuffer) killGroup(child.pid)
    const errno = exitCode === undefined && killedBy === undefined ? errnoOf(cause) : undefined
    return { stdout, stderr, code: exitCode ?? killedBy ?? 'unknown', errno, overflowed: isMaxBuffer }
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

const killGroup = (pid: number | undefined): void => {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // Nobody is left.
  }
}

const secretIn = (stdout: Uint8Array, program: string): string => {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(stdout)
  } catch {
    throw failure(program, 'printed something that is not UTF-8 text')
  }
  const line = text.split('\n')[0]?.replace(/\r$/u, '') ?? ''
  if (line === '') throw failure(program, text === '' ? 'printed nothing' : 'printed an empty first line')
  if (line.includes('\0')) throw failure(program, 'printed a NUL character')
  return line
}

/** Its last complaint, without what it printed as the secret: a shell's trace would repeat that. */
const lastWords = (stderr: Uint8Array, stdout: Uint8Array): string => {
  const lines = Buffer.from(stderr).toString().trim().split('\n')
  const said = Buffer.from(stdout).toString().split(/\r?\n/u)
  const hidden = said
    .filter((line) => line !== '')
    .reduce((text, line) => text.replaceAll(line, '…'), lines.at(-1) ?? '')
  const last = hidden.trim().slice(0, LONGEST_WORDS)
  return last === '' ? '' : `: ${printable(last)}`
}

const LONGEST_WORDS = 300

const failure = (program: string, what: string): DproxyError =>
  new DproxyError('SECRET_MISSING', `the command ${printable(program)} ${what}`, {
    hint: 'run it yourself: the first line it prints must be the secret, without a question being asked',
  })
