import type { Duplex } from 'node:stream'
import { z } from 'zod'
import { DproxyError, isErrorCode } from '../base/errors.js'
import { check, json, lines } from './client/answers.js'
import { misunderstood } from './client/errors.js'
import { Transport, type SendOptions } from './client/transport.js'
import { LineChannel } from './line-channel.js'
import {
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
  readonly #transport: Transport
  readonly #version: string | undefined

  /** `version` is this command's own, to be told apart from the supervisor's when the two misunderstand. */
  constructor(path: string, { answersWithinMs = ANSWERS_WITHIN_MS, version }: ClientOptions = {}) {
    this.#transport = new Transport(path, answersWithinMs)
    this.#version = version
  }

  async status(): Promise<Status> {
    return check(Status, await json(await this.#transport.send('GET', '/v1/status')))
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
    const reply = Reply.safeParse(await json(await this.#transport.send('GET', '/v1/running')))
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
  handOver(): Promise<LineChannel<HandOverNews, HandOverOrder>> {
    return this.#transport.connect('/v1/hand-over', handOverChannel)
  }

  /** The status now, after each change, and each second, until `signal` aborts or the supervisor leaves. */
  async *watch(signal: AbortSignal): AsyncGenerator<Status> {
    yield* lines(await this.#transport.send('GET', '/v1/watch', undefined, { signal }), Status, signal)
  }

  /** The log so far, and with `follow` what comes. */
  async *logs(host: string | undefined, follow: boolean, signal: AbortSignal): AsyncGenerator<LogEntry> {
    const query = new URLSearchParams({
      ...(host === undefined ? {} : { host }),
      ...(follow ? { follow: '1' } : {}),
    })
    yield* lines(
      await this.#transport.send('GET', `/v1/logs?${query.toString()}`, undefined, { signal }),
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
    const response = await this.#transport.send(method, path, body, options)
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
}

interface ClientOptions {
  readonly answersWithinMs?: number
  readonly version?: string
}

const abortedBy = (signal: AbortSignal | undefined): SendOptions => (signal ? { signal } : {})

const handOverChannel = (socket: Duplex, head: Buffer) =>
  new LineChannel<HandOverNews, HandOverOrder>(socket, HandOverNews, head)
