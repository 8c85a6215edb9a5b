import { DproxyError, type ErrorCode } from '../../../base/errors.js'
import { unless } from '../../../base/timeout.js'
import { ExecRefused, type RawLane } from '../../raw-lane.js'
import type { Forwarding } from '../forwarding.js'
import { answers, chooseCommand } from './choose-command.js'
import { CommandStream } from './command-stream.js'
import type { Command } from './commands.js'
import { commandFailed, commandRefused, sessionLimit, whyNotStreamlocal } from './explain.js'
import { patiently, runCommand } from './run-command.js'

/** What sshd says, or seems to say, where it does not forward to Unix sockets. */
const MAY_BE_FORBIDDEN: ReadonlySet<ErrorCode> = new Set([
  'FORWARDING_FORBIDDEN',
  'ENGINE_UNREACHABLE',
  // Forbidden forwarding looks like a dead engine where /proc/net/unix cannot be read.
  'ENGINE_DOWN',
])

export const mayBeForbidden = (failure: unknown): failure is DproxyError =>
  failure instanceof DproxyError && MAY_BE_FORBIDDEN.has(failure.code)

// How long it is known that nothing answers there, so that a hundred clients of a stopped engine do not start a
// hundred commands.
const HOLDS_MS = 1000

export interface FallbackOptions {
  readonly raw: RawLane
  /** The engine's socket there. */
  readonly path: string
  readonly command: Command
  readonly forwarding: Forwarding
  /** Hears that a stream is about to be cut although the connection lives. */
  readonly onCut: () => void
}

/** The way to the engine in one SSH connection whose server does not forward to Unix sockets. */
export class Fallback {
  readonly forwarding: Forwarding
  readonly #options: FallbackOptions
  /** A stream has failed in which nothing ever came. */
  #isDoubted = false
  #check: { readonly result: Promise<void>; readonly untilMs: number } | undefined

  /**
   * Chooses the command.
   * @throws DproxyError: `failure` with what else can be done, ENGINE_TIMEOUT, or the reason of `raw.lost`
   */
  static async find(raw: RawLane, path: string, failure: DproxyError, onCut: () => void): Promise<Fallback> {
    const command = await chooseCommand(raw, path, failure)
    const forwarding = { method: command.method, why: whyNotStreamlocal(failure, command) }
    return new Fallback({ raw, path, command, forwarding, onCut })
  }

  private constructor(options: FallbackOptions) {
    this.forwarding = options.forwarding
    this.#options = options
  }

  /** The same way in another connection to the same server. */
  in(raw: RawLane, onCut: () => void): Fallback {
    return new Fallback({ ...this.#options, raw, onCut })
  }

  /**
   * Opens one stream. `others`: how many there are already in this connection.
   * @throws DproxyError SESSION_LIMIT or ENGINE_*; what `signal` says
   */
  async open(signal: AbortSignal, others: number): Promise<CommandStream> {
    const { raw, path, command, onCut } = this.#options
    if (this.#isDoubted) await unless([signal, raw.lost], this.#checkOnce())
    const run = () => runCommand(raw, command, path, signal)
    // What takes the room of a stream when there is none is the last one, about to be over.
    const running = await (others === 0 ? patiently(signal, run) : run()).catch((failure: unknown) => {
      if (!(failure instanceof ExecRefused)) throw failure
      throw failure.noSession
        ? sessionLimit(raw.resolved, others, failure)
        : commandRefused(raw.resolved, command, failure)
    })
    const stream: CommandStream = new CommandStream(running, {
      engineEnded: command.engineEnded,
      explain: (exit, complaint) => commandFailed(raw.resolved, command, exit, complaint),
      onCut: () => {
        this.#isDoubted ||= stream.received === 0
        onCut()
      },
    })
    // Whoever gets the stream listens for itself; until then an 'error' event would end the process.
    stream.on('error', () => undefined)
    return stream
  }

  #checkOnce(): Promise<void> {
    if (!this.#check || performance.now() > this.#check.untilMs) {
      this.#check = { result: this.#verify(), untilMs: performance.now() + HOLDS_MS }
      this.#check.result.catch(() => undefined)
    }
    return this.#check.result
  }

  /** Finds out whether the engine answers again, else why not. */
  async #verify(): Promise<void> {
    const { raw, path, command } = this.#options
    const how = await answers(raw, command, path)
    if (how === undefined) {
      this.#isDoubted = false
      return
    }
    // What is wrong at the path is told by who is refused there.
    const refused: unknown = await raw.openStream(path, raw.lost).then(
      (stream) => void stream.destroy(),
      (failure: unknown) => failure,
    )
    raw.lost.throwIfAborted()
    if (refused instanceof DproxyError && refused.code !== 'FORWARDING_FORBIDDEN') throw refused
    throw new DproxyError(
      'ENGINE_DOWN',
      `no Docker daemon answers behind ${path}: ${command.method} there ${how}`,
      { stage: 'engine', hint: 'is it running there (systemctl status docker)?' },
    )
  }
}
