import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import findMyWay, { type HTTPMethod } from 'find-my-way'
import type { z } from 'zod'
import { asDproxyError, DproxyError, type ErrorCode } from '../base/errors.js'
import { printable } from '../base/text.js'
import { listenUnix, type ListenOptions } from '../base/unix-socket.js'
import { LineChannel } from './line-channel.js'
import { sendLatest, sendLines } from './lines.js'
import {
  API_VERSION,
  AnswerRequest,
  DownRequest,
  HandOverOrder,
  TakeOverRequest,
  UpRequest,
  type DownReply,
  type HandOverNews,
  type LogEntry,
  type Reply,
  type Running,
  type Status,
  type StreamStatus,
  type TakeOverReply,
  type UpReply,
} from './messages.js'

/** What the control socket gives access to; the supervisor is one. Each call may throw a DproxyError. */
export interface ControlService {
  status(): Status
  up(request: UpRequest): Promise<UpReply>
  down(name: string, drainMs: number): Promise<DownReply>
  answer(questionId: string, answers: readonly string[] | null): void
  restart(name: string, drainMs: number, person: boolean): Promise<DownReply>
  streams(name: string): StreamStatus[]
  cut(streamId: string): void
  recentLogs(): readonly LogEntry[]
  /** Returns the function that ends the subscription. */
  onLog(listener: (entry: LogEntry) => void): () => void
  onChange(listener: () => void): () => void
  shutdown(drainMs: number): Promise<void>
  running(): Running
  /** Takes the place of the supervisor that runs. */
  takeOver(drainMs: number): Promise<TakeOverReply>
  /** Another supervisor is there to take our place; the channel's end ends it, whatever it has come to. */
  handOver(successor: LineChannel<HandOverOrder, HandOverNews>): void
}

export interface ControlServer extends AsyncDisposable {
  readonly path: string
  /** Frees the path for another supervisor; who is connected already is still served. */
  release(): Promise<void>
}

// The way two supervisors talk while one takes the other's place.
const HAND_OVER = '/v1/hand-over'
// The largest honest request is one host's definition, a few kilobytes.
const LONGEST_BODY = 64 * 1024
// How long whoever sends more than that may take to notice the refusal.
const LINGER_MS = 1000

/**
 * Serves `service` as plain HTTP/1.1 on the Unix socket `path`, mode 0600. Bodies are bounded and checked
 * against their schemas; every failure is a `Reply` with `ok: false`. Disposing stops it and removes the path.
 * @throws DproxyError SOCKET_*
 */
export const serveControl = async (
  path: string,
  service: ControlService,
  version: string,
  how?: ListenOptions,
): Promise<ControlServer> => {
  const router = routes(service)
  const server = createServer({ requestTimeout: 30_000 }, (request, response) => {
    response.setHeader('Dproxy-Api', API_VERSION)
    response.setHeader('Dproxy-Version', version)
    router.lookup(request, response)
  })
  server.on('connect', (request, socket, head) => {
    if (request.url === HAND_OVER) {
      socket.write(`HTTP/1.1 200 OK\r\nDproxy-Api: ${API_VERSION}\r\nDproxy-Version: ${version}\r\n\r\n`)
      service.handOver(new LineChannel(socket, HandOverOrder, head))
    } else socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n')
  })
  const bound = await listenUnix(server, path, how)
  return {
    path,
    release: () => bound.release(),
    [Symbol.asyncDispose]: async () => {
      try {
        await bound.release()
      } finally {
        await closeServer(server)
      }
    },
  }
}

const closeServer = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve())
    server.closeIdleConnections()
    // Watchers and log followers never end by themselves.
    setTimeout(() => server.closeAllConnections(), 100).unref()
  })

/** In a query, a word may stand more than once. */
type Params = Record<string, string | string[] | undefined>
/** Answers with the value of a `Reply`, or with `undefined` once it has taken over the response. */
type Handler = (call: Call) => unknown

interface Call {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly params: Record<string, string | undefined>
  readonly query: Params
}

const routes = (service: ControlService) => {
  const router = findMyWay({
    defaultRoute: (request, response) => fail(response, 404, unknownRoute(request)),
    maxParamLength: 256,
  })
  const on = (method: HTTPMethod, path: string, handler: Handler) =>
    router.on(method, path, (request, response, params, _, query) => {
      void handle({ request, response, params, query }, handler)
    })
  on('GET', '/v1/status', ({ response }) => plain(response, service.status()))
  on('GET', '/v1/watch', ({ response }) =>
    sendLatest(
      response,
      () => service.status(),
      (changed) => service.onChange(changed),
    ),
  )
  on('GET', '/v1/logs', ({ response, query }) => sendLogs(response, service, query))
  on('GET', '/v1/hosts/:name/streams', ({ params }) => service.streams(params.name ?? ''))
  on('POST', '/v1/hosts/:name/up', async ({ request, params }) => {
    const asked = await body(request, UpRequest)
    if (asked.definition.name !== params.name)
      throw invalid('the host in the path is not the one in the body')
    return service.up(asked)
  })
  on('POST', '/v1/hosts/:name/down', async ({ request, params }) =>
    service.down(params.name ?? '', (await body(request, DownRequest)).drainMs),
  )
  on('POST', '/v1/hosts/:name/restart', async ({ request, params }) => {
    const { drainMs, person } = await body(request, DownRequest)
    return service.restart(params.name ?? '', drainMs, person)
  })
  on('POST', '/v1/questions/:id', async ({ request, params }) => {
    service.answer(params.id ?? '', (await body(request, AnswerRequest)).answers)
    return {}
  })
  on('DELETE', '/v1/streams/:id', ({ params }) => {
    service.cut(params.id ?? '')
    return {}
  })
  on('GET', '/v1/running', () => service.running())
  on('POST', '/v1/take-over', async ({ request }) =>
    service.takeOver((await body(request, TakeOverRequest)).drainMs),
  )
  on('POST', '/v1/shutdown', async ({ request }) => {
    const { drainMs } = await body(request, DownRequest)
    await service.shutdown(drainMs)
    return {}
  })
  return router
}

const sendLogs = (response: ServerResponse, service: ControlService, { host, follow }: Params): undefined => {
  if (Array.isArray(host)) throw invalid('it names more than one host')
  const wanted = (entry: LogEntry) => host === undefined || entry.host?.toLowerCase() === host.toLowerCase()
  const now = service.recentLogs().filter(wanted)
  return sendLines(
    response,
    now,
    follow === '1' ? (send) => service.onLog((entry) => void (wanted(entry) && send(entry))) : undefined,
  )
}

const handle = async (call: Call, handler: Handler): Promise<void> => {
  const { request, response } = call
  try {
    const value = await handler(call)
    if (!response.headersSent && !response.writableEnded)
      plain(response, { ok: true, value: value ?? {} } satisfies Reply)
  } catch (thrown) {
    const error = asDproxyError(thrown)
    const status = HTTP_STATUS[error.code] ?? 500
    // In the middle of an answer nothing else can be said.
    if (response.headersSent) response.destroy()
    else if (request.complete) fail(response, status, error)
    else refuseUnread(request, response, status, error)
  }
}

/**
 * Answers at once, and closes the connection when what is left of the body has gone by, or soon: closing a Unix
 * socket with unread bytes resets it, and the answer would be lost.
 */
const refuseUnread = (
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  error: DproxyError,
): void => {
  const answer = textOf(replyOf(error))
  response.writeHead(status, {
    ...JSON_TYPE,
    'Content-Length': Buffer.byteLength(answer),
    Connection: 'close',
  })
  response.write(answer)
  const end = () => {
    clearTimeout(limit)
    response.end()
  }
  const limit = setTimeout(end, LINGER_MS)
  request.once('end', end)
  request.once('close', end)
  request.resume()
}

const HTTP_STATUS: Partial<Record<ErrorCode, number>> = {
  REQUEST_INVALID: 400,
  HOST_UNKNOWN: 404,
  STREAM_UNKNOWN: 404,
  QUESTION_UNKNOWN: 404,
  SOCKET_BUSY: 409,
  SOCKET_FAILED: 409,
  SOCKET_PATH_TOO_LONG: 400,
  SUPERVISOR_DOWN: 503,
}

const JSON_TYPE = { 'Content-Type': 'application/json' }

const textOf = (value: unknown): string => `${JSON.stringify(value)}\n`

const plain = (response: ServerResponse, value: unknown): undefined => {
  response.writeHead(response.statusCode, JSON_TYPE)
  response.end(textOf(value))
}

const fail = (response: ServerResponse, status: number, error: DproxyError): void => {
  response.statusCode = status
  plain(response, replyOf(error))
}

const replyOf = ({ code, message, hint, stage }: DproxyError): Reply => ({
  ok: false,
  code,
  message,
  hint: hint ?? null,
  stage: stage ?? null,
})

const unknownRoute = ({ method, url }: IncomingMessage): DproxyError =>
  new DproxyError('REQUEST_INVALID', `there is no ${method} ${printable(url ?? '')} here`, {
    hint: 'try GET /v1/status',
  })

const invalid = (why: string, cause?: unknown): DproxyError =>
  new DproxyError('REQUEST_INVALID', `the request is not valid: ${why}`, { cause })

const body = async <T>(request: IncomingMessage, schema: z.ZodType<T>): Promise<T> => {
  const parsed = schema.safeParse(parseJson(await read(request)))
  if (parsed.success) return parsed.data
  throw invalid(
    parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`).join('; '),
  )
}

/** The whole body; what comes beyond the limit is not kept. */
const read = (request: IncomingMessage): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    const keep = (chunk: Buffer) => {
      length += chunk.length
      if (length <= LONGEST_BODY) return void chunks.push(chunk)
      request.off('data', keep)
      return reject(invalid(`its body is longer than ${LONGEST_BODY} bytes`))
    }
    request.on('data', keep)
    request.once('end', () => resolve(Buffer.concat(chunks)))
    request.once('error', reject)
  })

const parseJson = (bytes: Buffer): unknown => {
  if (bytes.length === 0) return {}
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (failure) {
    throw invalid('its body is not JSON', failure)
  }
}
