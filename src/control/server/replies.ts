import type { IncomingMessage, ServerResponse } from 'node:http'
import { asDproxyError, type DproxyError, type ErrorCode } from '../../base/errors.js'
import type { Reply } from '../messages.js'

// How long whoever sends more than is read may take to notice the refusal.
const LINGER_MS = 1000

/** A request and what answers it. */
interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/**
 * Answers with the value that `work` comes to, or with its failure; with nothing where `work` has answered itself.
 */
export const answer = async ({ request, response }: Exchange, work: () => unknown): Promise<void> => {
  try {
    const value = await work()
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
  const text = textOf(replyOf(error))
  response.writeHead(status, {
    ...JSON_TYPE,
    'Content-Length': Buffer.byteLength(text),
    Connection: 'close',
  })
  response.write(text)
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

/** The value as it is, in no `Reply`. */
export const plain = (response: ServerResponse, value: unknown): undefined => {
  response.writeHead(response.statusCode, JSON_TYPE)
  response.end(textOf(value))
}

export const fail = (response: ServerResponse, status: number, error: DproxyError): void => {
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
