import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { HalfOpenLimits } from './half-open.js'
import { relay } from './relay.js'

export interface Totals {
  /** Bytes from clients to the engine. */
  readonly up: number
  /** Bytes from the engine to clients. */
  readonly down: number
}

/** One client and its stream, as seen now. */
export interface StreamView {
  readonly id: string
  readonly sinceMs: number
  readonly bytes: Totals
}

interface Stream {
  readonly sinceMs: number
  readonly client: Socket
  readonly engine: Duplex
}

/** The streams of a proxy, and what they have carried. */
export class Streams {
  readonly #onChange: () => void
  readonly #open = new Map<string, Stream>()
  #total = 0
  #ended: Totals = { up: 0, down: 0 }

  /** `onChange` hears that a stream has come or gone. */
  constructor(onChange: () => void) {
    this.#onChange = onChange
  }

  get open(): number {
    return this.#open.size
  }

  /** Streams opened since the start. */
  get total(): number {
    return this.#total
  }

  /** Bytes carried since the start, those of streams still open included. */
  get bytes(): Totals {
    let { up, down } = this.#ended
    for (const { client } of this.#open.values()) {
      up += client.bytesRead
      down += client.bytesWritten
    }
    return { up, down }
  }

  *views(): Generator<StreamView> {
    for (const [id, { sinceMs, client }] of this.#open) {
      yield { id, sinceMs, bytes: { up: client.bytesRead, down: client.bytesWritten } }
    }
  }

  has(id: string): boolean {
    return this.#open.has(id)
  }

  /** Carries bytes as {@link relay} does. */
  async carry(
    id: string,
    client: Socket,
    engine: Duplex,
    halfOpen: HalfOpenLimits,
  ): Promise<Error | undefined> {
    this.#total += 1
    this.#open.set(id, { sinceMs: Date.now(), client, engine })
    this.#onChange()
    const failure = await relay(client, engine, halfOpen)
    this.#open.delete(id)
    this.#ended = { up: this.#ended.up + client.bytesRead, down: this.#ended.down + client.bytesWritten }
    this.#onChange()
    return failure
  }

  /** Cuts one stream; false when there is none of that id. */
  cut(id: string): boolean {
    const stream = this.#open.get(id)
    if (stream) destroyBoth(stream)
    return stream !== undefined
  }

  /** Cuts every stream; gives how many there were. */
  cutAll(): number {
    const { open } = this
    for (const stream of this.#open.values()) destroyBoth(stream)
    return open
  }
}

/** A client that has left already cannot take its engine's side with it. */
const destroyBoth = ({ client, engine }: Stream): void => {
  client.destroy()
  engine.destroy()
}
