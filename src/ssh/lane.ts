import { setMaxListeners } from 'node:events'
import type { Duplex } from 'node:stream'
import type { Client, ClientChannel } from 'ssh2'
import { deferred } from '../base/deferred.js'
import { DproxyError } from '../base/errors.js'
import { unless, within } from '../base/timeout.js'
import { ChannelStream, type ChannelHost } from './channel-stream.js'
import { cannotGoOn, cannotOpen, reasonOf, textOf, type RemoteProbe } from './engine/cannot-open.js'
import { probeRemoteSocket } from './engine/probe-remote-socket.js'
import { IdleCuts } from './idle/cuts.js'
import type { IdleWatch } from './idle/watch.js'
import { lostBecause, silentFor } from './lost.js'
import { ping, softwareOf } from './ping.js'
import { Complaint, ExecRefused, type RawLane, type RemoteCommand } from './raw-lane.js'
import { SocketRoom } from './socket-room.js'
import type { Resolved } from './target.js'

// How long the answer to "what is wrong with the remote socket?" is good for, so that a hundred clients of a
// stopped engine do not start a hundred remote commands.
const PROBE_HOLDS_MS = 1000

/**
 * One SSH connection, logged in. It ends once: `lost` then carries the reason, and the streams that lived in
 * it are destroyed with that reason right after.
 */
export class Lane implements RawLane, ChannelHost {
  readonly resolved: Resolved
  readonly #client: Client
  readonly #socket: Duplex
  readonly #lost = new AbortController()
  readonly #streams = new Set<ChannelStream>()
  readonly #room: SocketRoom
  readonly #idle: IdleCuts
  #probe: { readonly at: number; readonly result: Promise<RemoteProbe> } | undefined
  #rttMs: number | null = null
  #lastHeardMs = performance.now()

  /** `refusal`: why the host key was refused, as it may be when new session keys are made. */
  constructor(
    resolved: Resolved,
    client: Client,
    socket: Duplex,
    refusal: () => DproxyError | undefined = () => undefined,
  ) {
    this.resolved = resolved
    this.#client = client
    this.#socket = socket
    this.#room = new SocketRoom(socket)
    this.#idle = new IdleCuts({
      resolved,
      software: () => softwareOf(client),
      rttMs: () => this.#rttMs,
      answer: () => ping(client),
    })
    setMaxListeners(0, this.lost) // one for each stream being opened
    socket.on('data', () => {
      this.#lastHeardMs = performance.now()
    })
    socket.once('end', () => this.#lose('the server closed the connection'))
    socket.once('close', () => this.#lose('the connection is gone'))
    socket.on('error', (failure) => this.#lose(failure))
    client.on('error', (failure) => {
      // An agent that cannot sign has its own answer at login; it does not end the connection.
      if (failure.level !== 'agent') this.#lose(refusal() ?? failure)
    })
  }

  /** Aborts, with a DproxyError as its reason, when the connection is over. */
  get lost(): AbortSignal {
    return this.#lost.signal
  }

  /** Milliseconds since the server last sent a byte. */
  get silentMs(): number {
    return performance.now() - this.#lastHeardMs
  }

  /** The last measured round trip in milliseconds; null before the first. */
  get rttMs(): number | null {
    return this.#rttMs
  }

  get openStreams(): number {
    // A part of the set for as long as it is open.
    return [...this.#streams].filter((stream) => stream !== this.#idle.canary).length
  }

  get connectTimeoutMs(): number {
    return this.resolved.connectTimeoutMs
  }

  get keepAlive(): Resolved['keepAlive'] {
    return this.resolved.keepAlive
  }

  /** Who speaks SSH, and why it is not we ourselves. */
  readonly transport = { kind: 'ssh2', why: null } as const

  /**
   * Opens one stream to the Unix socket `path` on the remote machine.
   * @throws DproxyError LINK_LOST, or ENGINE_* with what is wrong at the remote end
   */
  async openStream(path: string, signal: AbortSignal): Promise<Duplex> {
    signal.throwIfAborted()
    this.lost.throwIfAborted()
    const over = [signal, this.lost]
    this.#idle.beforeStream()
    try {
      const stream = await unless(over, this.#openStreamLocal(path, signal))
      this.lost.throwIfAborted()
      return stream
    } catch (failure) {
      signal.throwIfAborted()
      this.lost.throwIfAborted()
      const probe = await unless(over, this.#probeOnce(path))
      throw cannotOpen(this.resolved, path, failure, probe)
    }
  }

  /**
   * Opens one stream to `host:port`, as the server reaches it: the way on from a jump host.
   * @throws DproxyError LINK_LOST, or CONNECT_FAILED when the server cannot or will not
   */
  async openTcp(host: string, port: number, signal: AbortSignal): Promise<Duplex> {
    signal.throwIfAborted()
    this.lost.throwIfAborted()
    try {
      return await unless(
        [signal, this.lost],
        this.#openChannel((taken) => this.#client.forwardOut('127.0.0.1', 0, host, port, taken), signal),
      )
    } catch (failure) {
      signal.throwIfAborted()
      this.lost.throwIfAborted()
      throw cannotGoOn(this.resolved, { host, port }, failure)
    }
  }

  /**
   * Runs a command on the remote machine.
   * @throws ExecRefused, or DproxyError LINK_LOST
   */
  async exec(command: string, signal: AbortSignal): Promise<RemoteCommand> {
    signal.throwIfAborted()
    this.lost.throwIfAborted()
    const complaint = new Complaint()
    const exit = deferred<number | string | null>()
    const start = (taken: Taken) =>
      this.#client.exec(command, (failure, channel) => {
        if (!failure) {
          channel.once('exit', (code: number | null, signalName?: string) =>
            exit.resolve(code ?? signalName ?? null),
          )
          channel.once('close', () => exit.resolve(null))
          channel.stderr.on('data', complaint.hear)
        }
        taken(failure, channel)
      })
    try {
      const stream = await unless([signal, this.lost], this.#openChannel(start, signal))
      this.lost.throwIfAborted()
      stream.once('close', () => exit.resolve(null))
      return { stream, exit: exit.promise, complaint: complaint.read, onComplaint: complaint.listen }
    } catch (failure) {
      signal.throwIfAborted()
      this.lost.throwIfAborted()
      // ssh2 puts the server's reason code on what a refused channel fails with, and on nothing else.
      throw new ExecRefused(textOf(failure), reasonOf(failure) !== undefined, failure)
    }
  }

  /** Keeps an idle stream to `path`, in which the server shows whether it cuts such; see {@link IdleCuts}. */
  keepCanary(path: string): void {
    this.#idle.keepCanary((watch) => this.#openStreamLocal(path, this.lost, watch))
  }

  #openStreamLocal(path: string, signal: AbortSignal, watch?: IdleWatch): Promise<ChannelStream> {
    const open = (taken: Taken) => this.#client.openssh_forwardOutStreamLocal(path, taken)
    return this.#openChannel(open, signal, watch)
  }

  #openChannel(
    open: (taken: Taken) => unknown,
    signal: AbortSignal,
    watch?: IdleWatch,
  ): Promise<ChannelStream> {
    return new Promise((resolve, reject) => {
      open((failure, channel) => {
        if (failure) return reject(failure)
        const stream = new ChannelStream(channel, this, watch ?? this.#idle.watch(channel.type))
        // Whoever gets the stream listens for itself; until then an 'error' event would end the process.
        stream.on('error', ignore)
        this.#streams.add(stream)
        // Whoever asked may have left meanwhile, and the link too.
        if (signal.aborted || this.lost.aborted) stream.destroy()
        return resolve(stream)
      })
    })
  }

  #probeOnce(path: string): Promise<RemoteProbe> {
    if (!this.#probe || performance.now() - this.#probe.at > PROBE_HOLDS_MS) {
      this.#probe = { at: performance.now(), result: probeRemoteSocket(this.#client, path) }
    }
    return this.#probe.result
  }

  /** Asks the server for a sign of life and measures the round trip, in milliseconds. */
  async ping(limitMs: number, signal: AbortSignal): Promise<number> {
    const late = () => silentFor(this.resolved, this.silentMs)
    this.#rttMs = await unless(
      [this.lost],
      within(limitMs, signal, late, () => ping(this.#client)),
    )
    return this.#rttMs
  }

  /** Ends the connection: politely, and at once. Streams still open are destroyed. */
  close(reason = 'the link was closed'): void {
    this.#client.end()
    this.#lose(reason)
  }

  whenRoom(then: () => void): void {
    this.#room.whenRoom(then)
  }

  forget(stream: ChannelStream): void {
    this.#streams.delete(stream)
  }

  #lose(said: string | Error): void {
    if (this.lost.aborted) return
    const error =
      said instanceof DproxyError
        ? said
        : lostBecause(this.resolved, said instanceof Error ? said.message : said)
    // First the link hears it, so that nobody is served again before the loss is known (promise 2).
    this.#lost.abort(error)
    for (const stream of this.#streams) stream.destroy(error)
    this.#streams.clear()
    this.#room.forget()
    // The disconnect message of a polite close is already with the kernel or never gets there.
    this.#socket.end(() => this.#socket.destroy())
    setTimeout(() => this.#socket.destroy(), 1000).unref()
  }
}

type Taken = (failure: Error | undefined, channel: ClientChannel) => void

const ignore = (): void => undefined
