import { randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { json } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { ask, isDemoEngine } from './request.js'

export interface Traffic extends AsyncDisposable {
  /** Cuts all of it; resolves when no client is left. */
  stop(): Promise<void>
}

// Modest on purpose: enough for every rate and counter to move, on a laptop that has other things to do.
const PAUSES = { list: 2000, save: 9000, load: 13_000, again: 1500 }
const UPLOAD = 1024 * 1024

type Client = (socket: string, signal: AbortSignal) => Promise<void>

/**
 * Keeps a few Docker clients busy on each of `sockets`: one lists containers, one follows events, one follows a
 * log, and, on a demo engine only, one saves and one loads an image. Whatever is cut is quietly begun again.
 */
export const startTraffic = (sockets: readonly string[]): Traffic => {
  const stopping = new AbortController()
  setMaxListeners(0, stopping.signal)
  const clients = sockets.flatMap((socket) =>
    CLIENTS.map(([pauseMs, client]) => repeat(client, socket, pauseMs, stopping.signal)),
  )
  const stop = async () => {
    stopping.abort()
    await Promise.all(clients)
  }
  return { stop, [Symbol.asyncDispose]: stop }
}

const repeat = async (
  client: Client,
  socket: string,
  pauseMs: number,
  signal: AbortSignal,
): Promise<void> => {
  while (!signal.aborted) {
    // A cut stream, a host that is down: what the demo is about, and no reason to stop or to say anything.
    await client(socket, signal).catch(() => undefined)
    // Clients that never fall into step make a livelier picture.
    await sleep(pauseMs * (0.7 + 0.6 * Math.random()), undefined, { signal }).catch(() => undefined)
  }
}

const read = async (body: AsyncIterable<Buffer>): Promise<void> => {
  for await (const chunk of body) void chunk
}

const list: Client = async (socket, signal) => read(await ask(socket, '/containers/json', { signal }))

const events: Client = async (socket, signal) => read(await ask(socket, '/events', { signal }))

const followLog: Client = async (socket, signal) => {
  const running = (await json(await ask(socket, '/containers/json', { signal }))) as { Id: string }[]
  const last = running.at(-1)
  if (last)
    await read(
      await ask(socket, `/containers/${last.Id}/logs?stdout=1&stderr=1&follow=1&tail=20`, { signal }),
    )
}

const save: Client = async (socket, signal) => {
  const response = await ask(socket, '/images/json', { signal })
  const ours = isDemoEngine(response)
  const [image] = (await json(response)) as { Id: string }[]
  // The images of a real engine may be of any size.
  if (ours && image) await read(await ask(socket, `/images/get?names=${image.Id}`, { signal }))
}

const load: Client = async (socket, signal) => {
  const ping = await ask(socket, '/_ping', { signal })
  await read(ping)
  if (!isDemoEngine(ping)) return
  await read(await ask(socket, '/images/load', { method: 'POST', body: randomBytes(UPLOAD), signal }))
}

const CLIENTS: readonly [pauseMs: number, client: Client][] = [
  [PAUSES.list, list],
  [PAUSES.again, events],
  [PAUSES.again, followLog],
  [PAUSES.save, save],
  [PAUSES.load, load],
]
