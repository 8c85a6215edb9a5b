import { once } from 'node:events'
import { createServer, connect, type Server, type Socket } from 'node:net'

/** Which request of a visitor is held, and where. */
export interface Rule {
  /** Tried on the request line, `POST /v1.41/exec/1f…/start HTTP/1.1`; the visitor's first one that matches. */
  readonly request: RegExp
  /** So many bytes of the request pass, and the rest waits; all of them unless told. */
  readonly upTo?: number
  /** So many bytes of its answer pass, and the rest waits; all of them unless told. */
  readonly downTo?: number
}

/** The request header by which the gate knows a visitor; docker takes such from its configuration file. */
export const VISITOR_HEADER = 'X-Visitor'

/**
 * A relay in front of an engine's Unix socket that knows HTTP well enough to hold a chosen request, or its
 * answer, at a chosen byte: so that a test knows how far a client has come. Ends with its scope.
 */
export class Gate implements AsyncDisposable {
  readonly path: string
  /** Bytes that passed to visitors. */
  passed = 0
  readonly #engine: string
  readonly #server: Server
  readonly #visits = new Map<string, Visit>()
  readonly #sockets = new Set<Socket>()

  static async start(engine: string, path: string): Promise<Gate> {
    const server = createServer({ allowHalfOpen: true }).listen(path)
    await once(server, 'listening')
    return new Gate(engine, path, server)
  }

  private constructor(engine: string, path: string, server: Server) {
    this.#engine = engine
    this.path = path
    this.#server = server
    server.on('connection', (client) => this.#accept(client))
  }

  /** Holds what `rule` says of the visitor who will come under this name. */
  expect(visitor: string, rule: Rule): Visit {
    const visit = new Visit(rule)
    this.#visits.set(visitor, visit)
    return visit
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #accept(client: Socket): void {
    const engine = connect({ path: this.#engine, allowHalfOpen: true })
    const [up, down] = [new Lock(engine), new Lock(client)]
    let known = false
    let visit: Visit | undefined
    for (const socket of [client, engine]) {
      this.#sockets.add(socket)
      socket.on('error', () => {}).once('close', () => this.#sockets.delete(socket))
    }
    client.on('data', (bytes) => {
      const head = headOf(bytes)
      if (head) {
        known ||= head.visitor !== undefined
        visit = this.#visits.get(head.visitor ?? '')?.begins(head.line, up, down)
      }
      const passed = up.pass(bytes)
      if (visit) visit.hears(bytes, passed)
    })
    client.once('end', () => {
      if (visit) visit.whole = true
      up.end()
    })
    engine.on('data', (bytes) => {
      const passed = down.pass(bytes)
      if (visit) visit.answered += passed
      if (known) this.passed += passed
    })
    engine.once('end', () => down.end())
    client.once('close', () => engine.destroy())
    // A failed engine is cut off; one that has ended is told on once the visitor has all of it.
    engine.once('close', (failed) => (failed ? client.destroy() : down.end()))
  }
}

/** A request that a rule holds, and how far it has come. */
export class Visit {
  /** Bytes of the request that passed: 0 before it has come. */
  sent = 0
  /** Bytes of its answer that passed. */
  answered = 0
  /** The request was sent whole: its last chunk was, or its sender has ended. */
  whole = false
  readonly #rule: Rule
  #locks: readonly Lock[] | undefined

  constructor(rule: Rule) {
    this.#rule = rule
  }

  /** This, if the request that begins here is the one that was waited for. */
  begins(line: string, up: Lock, down: Lock): this | undefined {
    if (this.#locks || !this.#rule.request.test(line)) return undefined
    this.#locks = [up, down]
    up.limit(this.#rule.upTo)
    down.limit(this.#rule.downTo)
    return this
  }

  hears(bytes: Buffer, passed: number): void {
    this.sent += passed
    if (bytes.subarray(-LAST_CHUNK.length).equals(LAST_CHUNK)) this.whole = true
  }

  /** What waits may pass now. */
  release(): void {
    for (const lock of this.#locks ?? []) lock.release()
  }
}

/** One direction of a connection. What waits is kept here, so that the end of its sender is seen nevertheless. */
class Lock {
  readonly #to: Socket
  readonly #waiting: Buffer[] = []
  #room = Number.POSITIVE_INFINITY
  #ended = false

  constructor(to: Socket) {
    this.#to = to
  }

  limit(bytes = Number.POSITIVE_INFINITY): void {
    this.#room = bytes
  }

  /** Passes on what may pass of `bytes`; returns how many. */
  pass(bytes: Buffer): number {
    const now = bytes.subarray(0, Math.min(bytes.length, this.#room))
    this.#room -= now.length
    if (now.length > 0) this.#to.write(now)
    if (now.length < bytes.length) this.#waiting.push(bytes.subarray(now.length))
    return now.length
  }

  end(): void {
    this.#ended = true
    if (this.#room > 0 && this.#waiting.length === 0) this.#to.end()
  }

  release(): void {
    this.#room = Number.POSITIVE_INFINITY
    for (const bytes of this.#waiting.splice(0)) this.#to.write(bytes)
    if (this.#ended) this.#to.end()
  }
}

// RFC 9112 section 7.1: what ends a chunked body.
const LAST_CHUNK = Buffer.from('0\r\n\r\n')

// No client of Docker sends a request before it has the answer to the last: a request begins with what is read.
const headOf = (bytes: Buffer): { line: string; visitor: string | undefined } | undefined => {
  const start = bytes.toString('latin1', 0, 4096)
  const line = /^[A-Z]{3,7} \/\S* HTTP\/1\.1(?=\r\n)/u.exec(start)?.[0]
  if (line === undefined) return undefined
  return { line, visitor: VISITOR.exec(start)?.[1] }
}

const VISITOR = new RegExp(`\\r\\n${VISITOR_HEADER}: ([^\\r]+)`, 'iu')
