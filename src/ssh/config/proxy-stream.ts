import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { Duplex } from 'node:stream'
import { finished } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { deferred } from '../../base/deferred.js'
import { DproxyError } from '../../base/errors.js'
import { printable } from '../../base/text.js'

/** How long a child may take to leave after SIGTERM; then comes SIGKILL. Milliseconds. */
const GRACE_MS = 1000
// The end of its output and the end of a child come in either order, and its last words with them.
const SOON_MS = 500
const LONGEST_LAST_WORDS = 300

interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/**
 * A child's input and output as one stream. A child that fails, or ends before it has given a byte, makes the
 * stream fail with PROXY_FAILED; one that ends well ends it well. When the stream closes, the child is gone and
 * its process group with it.
 */
export class ProxyStream extends Duplex {
  readonly pid: number
  /** Settles when the child is gone. */
  readonly gone: Promise<unknown>
  readonly #child: ChildProcessWithoutNullStreams
  readonly #name: string
  readonly #exited = deferred<Exit>()
  #exit: Exit | undefined
  #heard = false
  #lastWords = ''

  /** @param name of the command, for messages */
  constructor(child: ChildProcessWithoutNullStreams, name: string) {
    super()
    this.pid = child.pid!
    this.gone = this.#exited.promise
    this.#child = child
    this.#name = name
    // Whoever gets the stream listens for itself; until then an 'error' event would end the process.
    this.on('error', ignore)
    child.on('error', ignore)
    child.once('exit', (code, signal) => this.#onExit({ code, signal }))
    child.stdin.on('error', () => void this.#onBroken())
    child.stdout.on('error', ignore)
    child.stderr.on('error', ignore)
    child.stdout.once('close', () => void this.#onEnd())
    child.stdout.on('data', (chunk: Buffer) => {
      this.#heard = true
      if (!this.push(chunk)) child.stdout.pause()
    })
    child.stdout.pause()
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-4 * LONGEST_LAST_WORDS)
    })
  }

  override _read(): void {
    this.#child.stdout.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#send(chunk, done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), done)
  }

  #send(bytes: Buffer, done: () => void): void {
    // A write that fails is not answered: no more must come until what the child ends with has told why.
    this.#child.stdin.write(bytes, (failure) => failure ?? done())
  }

  override _final(done: () => void): void {
    this.#child.stdin.end(() => done())
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#child.stdin.destroy()
    this.#child.stdout.destroy()
    void this.#endChild(() => done(error))
  }

  async #endChild(then: () => void): Promise<void> {
    if (!this.#exit) {
      this.#signal('SIGTERM')
      const kill = setTimeout(() => this.#signal('SIGKILL'), GRACE_MS)
      // SIGKILL cannot be ignored, but a child that hangs in the kernel may still take its time.
      await this.#orSoon(this.gone, 2 * GRACE_MS)
      clearTimeout(kill)
    }
    this.#child.stderr.destroy()
    then()
  }

  #onExit(exit: Exit): void {
    // The others of its group, such as the rest of a pipeline. Later the number could be somebody else's.
    this.#signal('SIGKILL')
    this.#exit = exit
    this.#exited.resolve(exit)
    if (exit.code !== 0) void this.#onFailure()
  }

  // Usually the end of its output tells; but a process that it left behind may hold that open.
  async #onFailure(): Promise<void> {
    await this.#orSoon(finished(this.#child.stdout))
    if (!this.#heard) await this.#fail()
  }

  /** Its output has ended. */
  async #onEnd(): Promise<void> {
    await this.#orSoon(this.gone, GRACE_MS)
    const isEarly = this.#exit && !this.writableEnded && (this.#exit.code !== 0 || !this.#heard)
    if (isEarly) await this.#fail()
    else if (!this.destroyed) this.push(null)
  }

  /** Its input takes no more. */
  async #onBroken(): Promise<void> {
    await this.#orSoon(this.gone)
    if (!this.writableFinished) await this.#fail()
  }

  async #fail(): Promise<void> {
    await this.#orSoon(finished(this.#child.stderr))
    if (this.destroyed) return
    const said = this.#lastWords.split(/\r?\n/u).findLast((line) => line.trim() !== '')
    const words = said === undefined ? '' : `: ${printable(said.trim()).slice(0, LONGEST_LAST_WORDS)}`
    const when = this.#heard ? '' : ' before it gave a byte'
    this.destroy(
      new DproxyError('PROXY_FAILED', `${this.#name} ${endOf(this.#exit)}${when}${words}`, {
        stage: 'connect',
        hint: 'run the command by hand to see what it says, with the same words',
      }),
    )
  }

  #signal(signal: NodeJS.Signals): void {
    try {
      if (!this.#exit) process.kill(-this.pid, signal)
    } catch {
      // ESRCH: nobody is left.
    }
  }

  /** Waits for `event`, but not long. */
  async #orSoon(event: Promise<unknown>, ms = SOON_MS): Promise<void> {
    const over = new AbortController()
    const late = sleep(ms, undefined, { signal: over.signal })
    await Promise.race([event, late]).catch(ignore)
    over.abort()
  }
}

const endOf = (exit: Exit | undefined): string => {
  if (!exit) return 'takes no more input'
  return exit.signal ? `was ended by ${exit.signal}` : `ended with exit code ${exit.code}`
}

const ignore = (): void => undefined
