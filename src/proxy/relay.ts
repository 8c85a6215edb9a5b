import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { watchHalfOpen, type HalfOpenLimits } from './half-open.js'

// How long the end of an upload may take when its client has left.
const LINGER_MS = 30_000

/**
 * Carries bytes between a client and the engine until both directions have ended, and resolves then; never
 * rejects. Resolves with why the stream was cut, or undefined when it ended by itself.
 *
 * Each direction ends by itself: the client's half-close reaches the engine while the answer still flows, and
 * the other way round. `pipe` gives back-pressure both ways and, unlike `pipeline`, leaves it to us what an
 * error of one side means for the other:
 * - the engine's side fails (the link was lost): the client is cut at once, never ended cleanly;
 * - the engine's side has closed altogether: what it sent is flushed to the client, then the client is closed;
 * - the client fails or leaves: the engine's side is closed.
 */
export const relay = (client: Socket, engine: Duplex, limits: HalfOpenLimits): Promise<Error | undefined> =>
  new Promise((resolve) => {
    let cut: Error | undefined
    let open = 2
    let lingering: NodeJS.Timeout | undefined
    const closed = () => {
      open -= 1
      if (open > 0) return
      stopWatching()
      resolve(cut)
    }
    const stopWatching = watchHalfOpen(client, engine, limits, (why) => {
      cut ??= why
      client.destroy()
      engine.destroy()
    })
    client.on('error', (failure) => {
      cut ??= failure
      engine.destroy()
    })
    engine.on('error', (failure) => {
      cut ??= failure
      // No argument: an 'error' event that nobody listens to would end the process.
      client.destroy()
    })
    client.once('close', () => {
      // With both directions ended, the last of the upload may still be on its way; the engine's side closes by
      // itself once it is written. An engine that never reads it must not keep the stream for ever.
      if (!client.readableEnded || !engine.readableEnded) engine.destroy()
      else if (!engine.closed) lingering = setTimeout(() => engine.destroy(), LINGER_MS)
      closed()
    })
    engine.once('close', () => {
      clearTimeout(lingering)
      // Destroys only after everything written has reached the client's socket.
      client.destroySoon()
      closed()
    })
    client.pipe(engine)
    engine.pipe(client)
  })
