import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { DproxyError, errnoOf, type ErrorCode } from '../base/errors.js'
import { homeOf, type Env } from '../base/paths.js'
import { within } from '../base/timeout.js'
import { ask } from './request.js'

const ANSWER_MS = 3000

const HINT = 'start Docker, set DOCKER_HOST=unix:///path/to/docker.sock, or leave out `--engine local`'

/**
 * The Unix socket of this machine's own Docker engine, one that answers: what DOCKER_HOST names, else the
 * usual places of Docker, rootless Docker and Docker Desktop.
 * @throws DproxyError NOT_SUPPORTED when DOCKER_HOST is no Unix socket, ENGINE_… when nothing answers
 */
export const findLocalEngine = async (env: Env): Promise<string> => {
  let missing: DproxyError | undefined
  for (const path of candidates(env)) {
    const failure = await failureOf(path)
    if (!failure) return path
    if (failure.code !== 'ENGINE_SOCKET_MISSING') throw failure
    missing ??= failure
  }
  throw missing ?? new DproxyError('ENGINE_SOCKET_MISSING', 'no local Docker engine', { hint: HINT })
}

const candidates = (env: Env): string[] => {
  const host = env.DOCKER_HOST
  if (host?.startsWith('unix://')) return [host.slice('unix://'.length)]
  if (host) {
    throw new DproxyError('NOT_SUPPORTED', `DOCKER_HOST is ${host}; the demo needs a Unix socket`, {
      stage: 'engine',
      hint: HINT,
    })
  }
  const rootless = env.XDG_RUNTIME_DIR ? [join(env.XDG_RUNTIME_DIR, 'docker.sock')] : []
  return ['/var/run/docker.sock', ...rootless, join(homeOf(env), '.docker/run/docker.sock')]
}

const failureOf = async (path: string): Promise<DproxyError | undefined> => {
  const late = () => failure('ENGINE_TIMEOUT', `the engine at ${path} did not answer within ${ANSWER_MS} ms`)
  try {
    await within(ANSWER_MS, new AbortController().signal, late, async (signal) =>
      text(await ask(path, '/_ping', { signal })),
    )
    return undefined
  } catch (thrown) {
    if (thrown instanceof DproxyError) return thrown
    const [code, what] = MEANINGS[errnoOf(thrown) ?? ''] ?? UNFORESEEN
    const why = code === 'ENGINE_UNREACHABLE' && thrown instanceof Error ? `: ${thrown.message}` : ''
    return failure(code, `${what} at ${path}${why}`, thrown)
  }
}

const MEANINGS: Readonly<Record<string, [ErrorCode, string]>> = {
  ENOENT: ['ENGINE_SOCKET_MISSING', 'there is no local Docker engine'],
  EACCES: ['ENGINE_SOCKET_DENIED', 'you may not use the local Docker engine'],
  ECONNREFUSED: ['ENGINE_DOWN', 'the local Docker engine is not running: nobody answers'],
}
const UNFORESEEN: [ErrorCode, string] = [
  'ENGINE_UNREACHABLE',
  'no sensible answer from the local Docker engine',
]

const failure = (code: ErrorCode, message: string, cause?: unknown): DproxyError =>
  new DproxyError(code, message, { stage: 'engine', hint: HINT, cause })
