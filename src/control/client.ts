import { request as httpRequest, type IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { DproxyError, errnoOf, isErrorCode } from '../base/errors.js'
import { formatDuration } from '../base/duration.js'
import { refuseForeignSocket } from './foreign-socket.js'
import { LineChannel } from './line-channel.js'
import {
  API_VERSION,
  DownReply,
  HandOverNews,
  LogEntry,
  Reply,
  Running,
  Status,
  StreamStatus,
  TakeOverReply,
  UpReply,
  type HandOverOrder,
  type UpRequest,
} from './messages.js'

// Questions are answered at once; a supervisor that takes this long hangs, or was stopped with SIGSTOP.
const ANSWERS_WITHIN_MS = 10_000

/**
 * Talks to the supervisor at a control socket. Every call checks that what answers is our own supervisor and
 * speaks our protocol, and rejects with a DproxyError: SUPERVISOR_DOWN when none runs or it goes away
 * meanwhile, SUPERVISOR_FAILED when it does not answer or is somebody else's, SUPERVISOR_SKEW when it speaks
 * another version, else whatever the supervisor said.
 */
export class ControlClient {
  readonly #path: string
  readonly #answersWithinMs: number
  readonly #version: string | undefined

  /** `version` is this command's own, to be told apart from the supervisor's when the two misunderstand. */
  constructor(path: string, { answersWithinMs = ANSWERS_WITHIN_MS, version }: ClientOptions = {}) {
    this.#path = path
    this.#answersWithinMs = answersWithinMs
    this.#version = version
  }

  async status(): Promise<Status> {
    return check(Status, await json(await this.#send('GET', '/v1/status')))
  }

  async up(request: UpRequest, signal?: AbortSignal): Promise<UpReply> {
    return this.#call(
      'POST',
      `/v1/hosts/${encodeURIComponent(request.definition.name)}/up`,
      UpReply,
      request,
      abortedBy(signal),
    )
  }

  async down(name: string, drainMs: number, signal?: AbortSignal): Promise<DownReply> {
    return this.#call(
      'POST',
      `/v1/hosts/${encodeURIComponent(name)}/down`,
      DownReply,
      { drainMs },
      abortedBy(signal),
    )
  }

  async restart(name: string, drainMs: number, person: boolean, signal?: AbortSignal): Promise<DownReply> {
    return this.#call(
      'POST',
      `/v1/hosts/${encodeURIComponent(name)}/restart`,
      DownReply,
      { drainMs, person },
      abortedBy(signal),
    )
  }

  async streams(name: string): Promise<StreamStatus[]> {
    return this.#call('GET', `/v1/hosts/${encodeURIComponent(name)}/streams`, z.array(StreamStatus))
  }

  async cut(streamId: string): Promise<void> {
    await this.#call('DELETE', `/v1/streams/${encodeURIComponent(streamId)}`, z.unknown())
  }

  /** Answers what a login waits for; null declines. @throws DproxyError QUESTION_UNKNOWN when it waits no more */
  async answer(questionId: string, answers: readonly string[] | null): Promise<void> {
    await this.#call('POST', `/v1/questions/${encodeURIComponent(questionId)}`, z.unknown(), { answers })
  }

  /** Stops every host and the supervisor itself, whatever version it has. */
  async shutdown(drainMs: number): Promise<void> {
    await this.#call('POST', '/v1/shutdown', z.unknown(), { drainMs }, { anyVersion: true })
  }

  /**
   * What it runs, for another supervisor to run in its place.
   * @throws DproxyError SUPERVISOR_SKEW when it is too old to hand anything over
   */
  async running(): Promise<Running> {
    const reply = Reply.safeParse(await json(await this.#send('GET', '/v1/running')))
    const running = Running.safeParse(reply.data?.ok === true ? reply.data.value : undefined)
    if (running.success) return running.data
    throw new DproxyError('SUPERVISOR_SKEW', 'the running supervisor is too old to hand its hosts over', {
      cause: running.error,
      hint: 'stop it, then start your hosts again: dproxy down --all',
    })
  }

  /** Has a supervisor that was started for it take the place of the one that runs. */
  async takeOver(drainMs: number): Promise<TakeOverReply> {
    return this.#call('POST', '/v1/take-over', TakeOverReply, { drainMs })
  }

  /** Tells the supervisor that we are about to take its place; it freezes until the connection ends. */
  async handOver(): Promise<LineChannel<HandOverNews, HandOverOrder>> {
    await refuseForeignSocket(this.#path)
    return new Promise((resolve, reject) => {
      const asked = httpRequest({
        socketPath: this.#path,
        method: 'CONNECT',
        path: '/v1/hand-over',
        headers: { Host: 'dproxy' },
        agent: false,
        timeout: this.#answersWithinMs,
      })
      asked.once('timeout', () => asked.destroy(silent(this.#path, this.#answersWithinMs)))
      asked.once('error', (failure) => reject(unreachable(this.#path, failure)))
      asked.once('connect', (response, socket, head) => {
        socket.setTimeout(0)
        const refusal = versionRefusal(response, this.#path, false)
        if (!refusal) return resolve(new LineChannel(socket, HandOverNews, head))
        socket.destroy()
        return reject(refusal)
      })
      asked.end()
    })
  }

  /** The status now, after each change, and each second, until `signal` aborts or the supervisor leaves. */
  async *watch(signal: AbortSignal): AsyncGenerator<Status> {
    yield* lines(await this.#send('GET', '/v1/watch', undefined, { signal }), Status, signal)
  }

  /** The log so far, and with `follow` what comes. */
  async *logs(host: string | undefined, follow: boolean, signal: AbortSignal): AsyncGenerator<LogEntry> {
    const query = new URLSearchParams({
      ...(host === undefined ? {} : { host }),
      ...(follow ? { follow: '1' } : {}),
    })
    yield* lines(
      await this.#send('GET', `/v1/logs?${query.toString()}`, undefined, { signal }),
      LogEntry,
      signal,
    )
  }

  async #call<T>(
    method: string,
    path: string,
    schema: z.ZodType<T>,
    body?: unknown,
    options: SendOptions = {},
  ): Promise<T> {
    const response = await this.#send(method, path, body, options)
    const reply = check(Reply, await json(response))
    if (reply.ok) return check(schema, reply.value)
    const { code, message, hint, stage } = reply
    const theirs = String(response.headers['dproxy-version'])
    if (code === 'REQUEST_INVALID' && this.#version !== undefined && theirs !== this.#version) {
      throw misunderstood(theirs, this.#version, message)
    }
    throw new DproxyError(isErrorCode(code) ? code : 'INTERNAL', message, {
      hint: hint ?? undefined,
      stage: stage ?? undefined,
    })
  }

  async #send(
    method: string,
    path: string,
    body?: unknown,
    { signal, anyVersion = false }: SendOptions = {},
  ): Promise<IncomingMessage> {
    await refuseForeignSocket(this.#path)
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'Content-Type': 'application/json' }
      const asked = httpRequest(
        {
          socketPath: this.#path,
          method,
          path,
          headers: { Host: 'dproxy', ...headers },
          agent: false,
          ...(signal ? { signal } : {}),
        },
        (response) => {
          clearTimeout(limit)
          const refusal = versionRefusal(response, this.#path, anyVersion)
          if (refusal) {
            response.destroy()
            reject(refusal)
          } else resolve(response)
        },
      )
      // What is ordered may take its time: a drain.
      const limit =
        method === 'GET'
          ? setTimeout(() => asked.destroy(silent(this.#path, this.#answersWithinMs)), this.#answersWithinMs)
          : undefined
      asked.once('error', (failure) => {
        clearTimeout(limit)
        reject(signal?.aborted ? signal.reason : unreachable(this.#path, failure))
      })
      asked.end(body === undefined ? undefined : JSON.stringify(body))
    })
  }
}

interface ClientOptions {
  readonly answersWithinMs?: number
  readonly version?: string
}

interface SendOptions {
  readonly signal?: AbortSignal
  readonly anyVersion?: boolean
}

const abortedBy = (signal: AbortSignal | undefined): SendOptions => (signal ? { signal } : {})

const silent = (path: string, limitMs: number): DproxyError =>
  new DproxyError(
    'SUPERVISOR_FAILED',
    `the supervisor at ${path} did not answer within ${formatDuration(limitMs)}`,
    { hint: 'is it stopped (SIGSTOP) or stuck? end that process, then start your hosts again: dproxy up' },
  )

const stranger = (path: string): DproxyError =>
  new DproxyError('SUPERVISOR_SKEW', `what answers at ${path} is not a dproxy supervisor`, {
    hint: 'set DPROXY_RUNTIME_DIR to a directory of your own',
  })

const unreachable = (path: string, failure: Error): DproxyError => {
  if (failure instanceof DproxyError) return failure
  const errno = errnoOf(failure)
  const details = { cause: failure }
  // llhttp's names for what is not HTTP.
  if (errno?.startsWith('HPE_')) return stranger(path)
  if (errno === 'ENOENT' || errno === 'ECONNREFUSED') {
    return new DproxyError('SUPERVISOR_DOWN', 'no supervisor is running', {
      ...details,
      hint: 'start one: dproxy up NAME',
    })
  }
  if (errno === 'EACCES') {
    return new DproxyError('SUPERVISOR_FAILED', `you may not use the control socket ${path}`, {
      ...details,
      hint: 'it belongs to another user; set DPROXY_RUNTIME_DIR to a directory of your own',
    })
  }
  // Node's whole word for an answer that broke off.
  const how = failure.message === 'aborted' ? '' : `: ${failure.message}`
  return new DproxyError('SUPERVISOR_DOWN', `the supervisor went away${how}`, {
    ...details,
    hint: 'see: dproxy logs',
  })
}

const misunderstood = (theirs: string, ours: string, said: string): DproxyError =>
  new DproxyError(
    'SUPERVISOR_SKEW',
    `the running supervisor is dproxy ${theirs} and does not understand this command, which is dproxy ${ours}: ${said}`,
    { hint: 'stop it, then start your hosts again: dproxy down --all' },
  )

const versionRefusal = (
  { headers }: IncomingMessage,
  path: string,
  anyVersion: boolean,
): DproxyError | undefined => {
  const api = headers['dproxy-api']
  if (api === undefined) return stranger(path)
  if (anyVersion || api === String(API_VERSION)) return undefined
  const version = String(headers['dproxy-version'])
  return new DproxyError(
    'SUPERVISOR_SKEW',
    `the running supervisor is dproxy ${version} and speaks another protocol (${String(api)}) than this command (${API_VERSION})`,
    { hint: 'stop it, then start your hosts again: dproxy down --all' },
  )
}

const json = async (response: IncomingMessage): Promise<unknown> => {
  try {
    let text = ''
    response.setEncoding('utf8')
    for await (const chunk of response as AsyncIterable<string>) text += chunk
    return JSON.parse(text)
  } catch (failure) {
    throw new DproxyError('SUPERVISOR_DOWN', 'the supervisor went away in the middle of its answer', {
      cause: failure,
      hint: 'see: dproxy logs',
    })
  }
}

async function* lines<T>(
  response: IncomingMessage,
  schema: z.ZodType<T>,
  signal: AbortSignal,
): AsyncGenerator<T> {
  const reader = createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY })
  try {
    for await (const line of reader) yield check(schema, JSON.parse(line))
  } catch (failure) {
    if (!signal.aborted) throw failure instanceof DproxyError ? failure : unreachable('', failure as Error)
  } finally {
    response.destroy()
  }
}

const check = <T>(schema: z.ZodType<T>, value: unknown): T => {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  throw new DproxyError(
    'SUPERVISOR_SKEW',
    'the supervisor gave an answer that this command does not understand',
    {
      cause: parsed.error,
      hint: 'it may be of another version; stop it, then start your hosts again: dproxy down --all',
    },
  )
}
