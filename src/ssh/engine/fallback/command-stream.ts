import { Duplex } from 'node:stream'
import type { RemoteCommand } from '../../raw-lane.js'

type Callback = (failure?: Error | null) => void

export interface CommandStreamOptions {
  /** What the command says on its error output when only its input is still to end; null: it never does. */
  readonly engineEnded: RegExp | null
  /** Why the stream is cut whose command ended like this, with what it said last. */
  readonly explain: (exit: number | string | null, complaint: string) => Error
  /** Hears that the stream is about to be cut. */
  readonly onCut: () => void
}

/**
 * The input and output of a remote command as a stream that ends cleanly only when the command has exited with 0:
 * that its output has ended says nothing, since it also ends when the command is killed.
 *
 * A client's half-close reaches the command, and the answer still comes whole. The other way round the stream is
 * over: once the engine has ended, the command's input is ended too, what is still written is dropped, and how it
 * exits decides. (`docker system dial-stdio` does not wait for its input then, see `runDialStdio` of docker/cli.)
 */
export class CommandStream extends Duplex {
  readonly #command: RemoteCommand
  readonly #options: CommandStreamOptions
  #received = 0
  #isInputOver = false
  #endHeard = false

  constructor(command: RemoteCommand, options: CommandStreamOptions) {
    super({ readableHighWaterMark: 64 * 1024, writableHighWaterMark: 64 * 1024 })
    this.#command = command
    this.#options = options
    const { stream } = command
    // Paused first: a 'data' listener would otherwise start the flow before anybody reads.
    stream.pause()
    stream.on('data', (chunk: Buffer) => {
      this.#received += chunk.length
      if (!this.push(chunk)) stream.pause()
    })
    stream.once('end', () => void this.#onOutputEnd())
    stream.once('close', () => void this.#onOutputEnd())
    stream.on('error', (failure: Error) => this.destroy(failure))
    const { engineEnded } = options
    if (engineEnded) command.onComplaint(() => engineEnded.test(command.complaint()) && this.#endInput())
  }

  /** Bytes that the command has given. */
  get received(): number {
    return this.#received
  }

  override _read(): void {
    this.#command.stream.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Callback): void {
    // Later: who writes for as long as there is room would otherwise never stop.
    if (this.#isInputOver) return process.nextTick(done)
    // Why it could not be written is told by the stream's own error.
    this.#command.stream.write(chunk, () => done())
  }

  override _final(done: Callback): void {
    if (this.#isInputOver) return done()
    this.#command.stream.end(() => done())
  }

  override _destroy(failure: Error | null, done: Callback): void {
    this.#isInputOver = true
    // Closes the channel; the command there is ended by its own watch.
    this.#command.stream.destroy()
    done(failure)
  }

  #endInput(): void {
    this.#isInputOver = true
    const { stream } = this.#command
    if (!stream.writableEnded) stream.end()
  }

  async #onOutputEnd(): Promise<void> {
    if (this.#endHeard || this.destroyed) return
    this.#endHeard = true
    this.#endInput()
    const { exit, complaint } = this.#command
    const code = await exit
    if (this.destroyed) return
    if (code !== 0) {
      this.#options.onCut()
      this.destroy(this.#options.explain(code, complaint()))
      return
    }
    this.push(null)
    if (this.readableEnded) this.destroy()
    else this.once('end', () => this.destroy())
  }
}
