import { setMaxListeners } from 'node:events'
import type { Duplex } from 'node:stream'
import { unless, within } from '../../base/timeout.js'
import { cannotOpen, textOf, type RemoteProbe } from '../engine/cannot-open.js'
import { IdleCuts } from '../idle/cuts.js'
import { lostBecause, silentFor } from '../lost.js'
import { Complaint, ExecRefused, type RawLane, type RemoteCommand } from '../raw-lane.js'
import type { Resolved } from '../target.js'
import type { Carrier } from './carrier.js'
import { Channels, SESSION } from './channels.js'
import { probe } from './probe.js'
import type { SshLog } from './ssh-log.js'
import type { SshProcess } from './ssh-process.js'

// How long a refusal is good for, and the answer to what is wrong there, so that a hundred clients of a stopped
// engine do not start a hundred remote commands.
const REFUSED_FOR_MS = 250

// ssh keeps an entry for each channel that was refused through its control socket until it ends, and dies of
// the 16,385th (channels.c, CHANNELS_MAX_CHANNELS; measured). A new one is started before that, when nothing is cut by it.
const MOST_REFUSED = 8000

export interface OpensshLaneParts {
  readonly resolved: Resolved
  readonly why: string | null
  readonly ssh: SshProcess
  readonly log: SshLog
  readonly carrier: Carrier
}

/**
 * One SSH connection that the system's `ssh` has made and keeps. It ends once: `lost` then carries the reason,
 * and the streams that lived in it are destroyed with that reason right after.
 */
export class OpensshLane implements RawLane {
  readonly resolved: Resolved
  /** Who speaks SSH, and why it is not dproxy itself. */
  readonly transport: { readonly kind: 'openssh'; readonly why: string | null }
  readonly #ssh: SshProcess
  readonly #log: SshLog
  readonly #channels: Channels
  readonly #idle: IdleCuts
  readonly #lost = new AbortController()
  #refused:
    | {
        readonly path: string
        readonly untilMs: number
        readonly probe: Promise<RemoteProbe>
        readonly why: unknown
      }
    | undefined
  #rttMs: number | null = null
  #lastHeardMs = performance.now()

  constructor({ resolved, why, ssh, log, carrier }: OpensshLaneParts) {
    this.resolved = resolved
    this.transport = { kind: 'openssh', why }
    this.#ssh = ssh
    this.#log = log
    setMaxListeners(0, this.lost) // one for each stream being opened
    const onHeard = () => {
      this.#lastHeardMs = performance.now()
    }
    this.#idle = new IdleCuts({
      resolved,
      software: () => log.software,
      rttMs: () => this.#rttMs,
      answer: () => this.#channels.ping(this.lost),
    })
    this.#channels = new Channels(carrier, this.#idle, onHeard, (failure) => void this.#onEnd(failure))
    void ssh.ended.then(() => this.#onEnd(undefined))
  }

  /** Aborts, with a DproxyError as its reason, when the connection is over. */
  get lost(): AbortSignal {
    return this.#lost.signal
  }

  /** Milliseconds since the server last sent anything that concerns a stream. */
  get silentMs(): number {
    return performance.now() - this.#lastHeardMs
  }

  /** The last measured round trip in milliseconds; null before the first. */
  get rttMs(): number | null {
    return this.#rttMs
  }

  get openStreams(): number {
    return this.#channels.openStreams
  }

  get connectTimeoutMs(): number {
    return this.resolved.connectTimeoutMs
  }

  get keepAlive(): Resolved['keepAlive'] {
    return this.resolved.keepAlive
  }

  /** Resolves when `ssh`, whatever it started, its socket and its directory are gone. */
  get gone(): Promise<void> {
    return this.#ssh.gone
  }

  /**
   * Opens one stream to the Unix socket `path` on the remote machine.
   * @throws DproxyError LINK_LOST, or ENGINE_* with what is wrong at the remote end
   */
  async openStream(path: string, signal: AbortSignal): Promise<Duplex> {
    signal.throwIfAborted()
    this.lost.throwIfAborted()
    const over = [signal, this.lost]
    try {
      const known = this.#refusedNow(path)
      if (known) throw known.why
      this.#idle.beforeStream()
      const stream = await unless(over, this.#channels.openStreamLocal(path, signal))
      this.lost.throwIfAborted()
      return stream
    } catch (failure) {
      signal.throwIfAborted()
      this.lost.throwIfAborted()
      throw cannotOpen(this.resolved, path, failure, await unless(over, this.#onRefused(path, failure)))
    }
  }

  /** Keeps an idle stream to `path`, in which the server shows whether it cuts such; see {@link IdleCuts}. */
  keepCanary(path: string): void {
    this.#idle.keepCanary((watch) => this.#channels.openStreamLocal(path, this.lost, watch))
  }

  /**
   * Runs a command on the remote machine.
   * @throws ExecRefused, or DproxyError LINK_LOST
   */
  async exec(command: string, signal: AbortSignal): Promise<RemoteCommand> {
    signal.throwIfAborted()
    this.lost.throwIfAborted()
    const over = [signal, this.lost]
    const session = await unless(over, this.#channels.open(SESSION, signal)).catch((failure: unknown) => {
      signal.throwIfAborted()
      this.lost.throwIfAborted()
      throw new ExecRefused(textOf(failure), true, failure)
    })
    const complaint = new Complaint()
    session.onComplaint = complaint.hear
    if (!(await unless(over, session.request('exec', command)))) {
      session.destroy()
      this.lost.throwIfAborted()
      throw new ExecRefused('the command was refused', false)
    }
    return { stream: session, exit: session.exit, complaint: complaint.read, onComplaint: complaint.listen }
  }

  /** Asks the server for a sign of life and measures the round trip, in milliseconds. */
  async ping(limitMs: number, signal: AbortSignal): Promise<number> {
    const late = () => silentFor(this.resolved, this.silentMs)
    const started = performance.now()
    await unless(
      [this.lost],
      within(limitMs, signal, late, (limited) => this.#channels.ping(limited)),
    )
    this.#rttMs = performance.now() - started
    return this.#rttMs
  }

  /** Ends the connection. Streams still open are destroyed. */
  close(reason = 'the link was closed'): void {
    this.#lose(reason)
  }

  #refusedNow(path: string) {
    const known = this.#refused
    return known && known.path === path && performance.now() < known.untilMs ? known : undefined
  }

  #onRefused(path: string, why: unknown): Promise<RemoteProbe> {
    if (!this.#refusedNow(path)) {
      this.#refused = {
        path,
        untilMs: performance.now() + REFUSED_FOR_MS,
        probe: probe(this.#channels, path),
        why,
      }
      if (this.#channels.refused > MOST_REFUSED && this.openStreams === 0) {
        this.close('the server refused so many streams that ssh must be started anew')
      }
    }
    return this.#refused!.probe
  }

  /** ssh has ended, or no longer talks to us. Why is what it said last. */
  async #onEnd(failure: Error | undefined): Promise<void> {
    const before = this.#log.lines.length
    this.#ssh.stop()
    await this.#ssh.ended
    const said = this.#log.lines.slice(before)
    this.#lose(said.at(-1) ?? this.#log.lastLine ?? failure?.message ?? 'ssh has ended')
  }

  #lose(said: string): void {
    if (this.lost.aborted) return
    const error = lostBecause(this.resolved, said)
    // First the link hears it, so that nobody is served again before the loss is known (promise 2).
    this.#lost.abort(error)
    this.#channels.fail(error)
    this.#ssh.stop()
  }
}
