import { request } from 'node:http'
import type { Duplex } from 'node:stream'
import { DproxyError } from '../../base/errors.js'
import { formatDuration } from '../../base/duration.js'
import { printable } from '../../base/text.js'
import { within } from '../../base/timeout.js'

/** What a Docker engine says of itself. */
export interface EngineVersion {
  readonly version: string
  readonly apiVersion: string
}

// An engine's answer is a few kilobytes; whatever sends more is no engine.
const LONGEST_ANSWER = 256 * 1024

/**
 * Asks the engine at the other end of `open` for its version (`GET /version`): the proof that what answers
 * behind the socket is a Docker engine, and that requests get through.
 * `remoteSocket`: where it listens, as far as that is known by then.
 * @throws DproxyError ENGINE_TIMEOUT or ENGINE_UNREACHABLE, and what `open` throws
 */
export const askVersion = async (
  open: (signal: AbortSignal) => Promise<Duplex>,
  remoteSocket: () => string,
  limitMs: number,
  signal: AbortSignal,
): Promise<EngineVersion> => {
  const late = () =>
    new DproxyError(
      'ENGINE_TIMEOUT',
      `the Docker engine behind ${remoteSocket()} did not answer within ${formatDuration(limitMs)}`,
      {
        stage: 'engine',
        hint: 'it may be overloaded or stuck: look at it there with `docker version`',
      },
    )
  return within(limitMs, signal, late, async (limited) => {
    const stream = await open(limited)
    try {
      return parse(await get(stream, limited), remoteSocket())
    } finally {
      stream.destroy()
    }
  })
}

const get = (stream: Duplex, signal: AbortSignal): Promise<string> =>
  new Promise((resolve, reject) => {
    const asked = request(
      {
        createConnection: () => stream,
        path: '/version',
        headers: { Host: 'docker', Connection: 'close' },
        signal,
      },
      (response) => {
        let body = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          body += chunk
          if (body.length > LONGEST_ANSWER) response.destroy(new Error('the answer is too long'))
        })
        response.once('end', () => resolve(body))
        response.once('error', reject)
      },
    )
    asked.once('error', reject)
    asked.end()
  }).catch((failure: unknown) => {
    if (failure instanceof DproxyError) throw failure
    signal.throwIfAborted()
    const why = failure instanceof Error ? failure.message : String(failure)
    throw unreachable(`the Docker engine gave no answer: ${printable(why)}`)
  }) as Promise<string>

const parse = (body: string, remoteSocket: string): EngineVersion => {
  try {
    const { Version, ApiVersion } = JSON.parse(body) as Record<string, unknown>
    if (isShort(Version) && isShort(ApiVersion)) return { version: Version, apiVersion: ApiVersion }
  } catch {
    // Falls through: not JSON is not an engine either.
  }
  throw unreachable(`what answers behind ${remoteSocket} is not a Docker engine`)
}

// It is logged and shown with every status.
const isShort = (value: unknown): value is string => typeof value === 'string' && value.length <= 100

const unreachable = (message: string): DproxyError =>
  new DproxyError('ENGINE_UNREACHABLE', message, {
    stage: 'engine',
    hint: "is `remoteSocket` the engine's socket, and is the engine running?",
  })
