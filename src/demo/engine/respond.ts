import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { EngineError } from './engine-error.js'
import type { World } from './world.js'

/** A request and all that answering it needs. */
export interface Ask {
  readonly world: World
  readonly params: Readonly<Record<string, string | undefined>>
  readonly query: URLSearchParams
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Aborts when the answer is sent or can no longer be. */
  readonly signal: AbortSignal
}

export type Answer = (ask: Ask) => void | Promise<void>

export const sendJson = ({ response }: Ask, value: unknown, status = 200): void => {
  sendWhole(response, 'application/json', Buffer.from(`${JSON.stringify(value)}\n`), status)
}

/** An answer without a body: 204 done, 304 nothing to do. */
export const sendNothing = ({ response }: Ask, status: 204 | 304 = 204): void => {
  response.writeHead(status).end()
}

export const sendWhole = (response: ServerResponse, type: string, body: Buffer, status = 200): void => {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': body.length }).end(body)
}

/**
 * Sends what `parts` yields, never faster than the client reads, then ends. The head goes out at once: a
 * client that follows waits for it before there is anything to tell.
 */
export const sendParts = async (
  { response, signal }: Ask,
  type: string,
  parts: AsyncIterable<Buffer | string> | Iterable<Buffer>,
): Promise<void> => {
  response.writeHead(200, { 'Content-Type': type }).flushHeaders()
  await pipeline(Readable.from(parts), response, { signal })
}

/**
 * For answers without an end of their own: also aborts once the client has closed its direction, as Docker's
 * own engine does (Go's net/http cancels a request whose connection reads EOF).
 */
export const untilClientEnds = ({ request, response, signal }: Ask): AbortSignal => {
  const ended = new AbortController()
  const onEnd = () => ended.abort()
  request.socket.once('end', onEnd)
  response.once('close', () => request.socket.off('end', onEnd))
  return AbortSignal.any([signal, ended.signal])
}

/** A query word that Docker clients write as `1`, `true` or leave out. */
export const isSet = (query: URLSearchParams, word: string): boolean =>
  ['1', 'true', 'True'].includes(query.get(word) ?? '')

/** A time in a query, `1700000000.123` or RFC 3339, in milliseconds; undefined when not given or `0`. */
export const timeIn = (query: URLSearchParams, word: string): number | undefined => {
  const text = query.get(word)
  if (!text || text === '0') return undefined
  const ms = /^\d+(\.\d+)?$/u.test(text) ? Number(text) * 1000 : Date.parse(text)
  if (Number.isNaN(ms)) throw new EngineError(400, `invalid value for "${word}"`)
  return ms
}
