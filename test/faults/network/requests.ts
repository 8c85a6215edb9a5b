/** What an HTTP client gets through a host's socket. */
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { Readable } from 'node:stream'
import { expect } from 'vitest'
import { until } from '../../testbed/until.js'
import { given, hashOf, type Engine, type Pace } from './engine.js'

/** Sends the engine's payload through a socket and fetches it, at the same time: both arrive whole. */
export const expectWhole = async (
  socket: string,
  { payload }: Engine,
  pace: Pace = 'at once',
): Promise<void> => {
  const [here, sent, fetched] = await Promise.all([
    hashOf(Readable.from([payload])),
    send(socket, payload, pace),
    fetchPayload(socket, pace),
  ])
  expect({ sent, fetched }).toEqual({ sent: here, fetched: here })
}

// Their checksum as the engine made it.
const send = async (socket: string, payload: Buffer, pace: Pace): Promise<string> => {
  const headers = { 'Content-Length': payload.length }
  return text(await ask(socket, '/sha256', { method: 'POST', headers }, given(payload, pace)))
}

const fetchPayload = async (socket: string, pace: Pace): Promise<string> =>
  hashOf(await ask(socket, encodeURI(`/payload/${pace}`)))

/** What the engine behind a socket, or dproxy in its place, answers to a ping. */
export const ping = async (socket: string): Promise<string> => text(await ask(socket, '/_ping'))

/** Waits until a host's socket answers as an engine does; how long that took, in milliseconds. */
export const untilServes = async (socket: string, withinMs = 30_000): Promise<number> => {
  const started = performance.now()
  await until('its socket serves', async () => (await ping(socket)) === 'OK', withinMs)
  return performance.now() - started
}

const ask = async (
  socketPath: string,
  path: string,
  options: RequestOptions = {},
  body: Readable = Readable.from([]),
): Promise<IncomingMessage> => {
  const asked = httpRequest({ socketPath, path, agent: false, ...options })
  body.pipe(asked)
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  return response
}

const text = async (response: IncomingMessage): Promise<string> => {
  let all = ''
  for await (const piece of response.setEncoding('utf8') as AsyncIterable<string>) all += piece
  return all
}
