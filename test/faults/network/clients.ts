import { request as httpRequest } from 'node:http'
import type { Scope } from '../../../src/base/scope.js'
import { until } from '../../testbed/until.js'
import { pour } from './engine.js'
import type { Watch } from './watch.js'

/** A client of a host's socket. */
export interface Client {
  /** Resolves once its answer is over: whole, or cut off in the middle; and when, by `performance.now()`. */
  readonly ended: Promise<{ readonly how: 'whole' | 'cut'; readonly atMs: number }>
}

/** What never ends by itself: to wait for what never comes, to receive, to send. `events` is a real engine's. */
export type Work = 'follow' | 'events' | 'pour' | 'drink'

/** Starts clients, one for each piece of work, and resolves once the supervisor has seen their bytes pass. */
export const startClients = async (
  scope: Scope,
  { socket, prod }: { readonly socket: string; readonly prod: Watch },
  works: readonly Work[],
): Promise<Client[]> => {
  const { up, down } = prod.now.bytes
  const clients = works.map((work) => startClient(scope, socket, work))
  const moves = (work: Work, many: number) => !works.includes(work) || many > 100_000
  await until('the clients are at work', () => {
    const { streams, bytes } = prod.now
    return streams.open >= works.length && moves('drink', bytes.up - up) && moves('pour', bytes.down - down)
  })
  return clients
}

const startClient = (scope: Scope, socketPath: string, work: Work): Client => {
  const method = work === 'drink' ? 'POST' : 'GET'
  const asked = httpRequest({ socketPath, path: `/${work}`, method, agent: false })
  scope.add(asked, (request) => request.destroy())
  if (work === 'drink') pour(asked)
  else asked.end()
  const ended = new Promise<Awaited<Client['ended']>>((resolve) => {
    const end = (how: 'whole' | 'cut') => resolve({ how, atMs: performance.now() })
    asked.once('error', () => end('cut'))
    asked.once('response', (response) => {
      response.on('error', () => undefined).resume()
      response.once('close', () => end(response.complete ? 'whole' : 'cut'))
    })
  })
  return { ended }
}
