import { unlink } from 'node:fs/promises'
import { Server } from 'node:net'
import { dirname } from 'node:path'
import { acceptWaiting } from './accept-waiting.js'
import { bindBeside } from './bind-beside.js'
import { directoryAgain, directoryAt, type Directory } from './directory.js'
import type { DproxyError } from '../errors.js'
import { identityOf, same, type FileIdentity } from './file-identity.js'
import { lookRegularly } from './looks.js'
import { busy, cannotListen, standingAt } from './path.js'
import { putInPlace, removeIfSame, replaceableAt } from './place.js'

// To ask whether another's socket is alive is to be its client for a moment.
const REPLACED_PAUSE_MS = 30_000

/**
 * The Unix socket of a server: made, looked after, removed. Whoever clears old files out of /tmp deletes it under
 * us, or its whole directory; within five seconds it is made again, while open connections go on.
 */
export class KeptSocket {
  readonly path: string
  readonly #server: Server
  readonly #onChange: (lost: DproxyError | undefined) => void
  #identity: FileIdentity | undefined
  #directory: Directory | undefined
  #lost: DproxyError | undefined
  /** At the last look another process of our user served the path. */
  #replaced = false
  #waitUntilMs = 0
  #stopLooking: (() => void) | undefined
  #remaking: Promise<void> | undefined
  #released: Promise<void> | undefined

  constructor(server: Server, path: string, onChange: (lost: DproxyError | undefined) => void) {
    this.#server = server
    this.path = path
    this.#onChange = onChange
  }

  /** Why clients cannot get in at the path now; undefined when they can. */
  get lost(): DproxyError | undefined {
    return this.#lost
  }

  /** @throws DproxyError SOCKET_BUSY, SOCKET_FAILED; the server does not listen then */
  async make(takeOver: boolean): Promise<void> {
    try {
      this.#directory = await directoryAt(dirname(this.path))
      await this.#make(takeOver)
    } catch (failure) {
      this.#server.close()
      throw cannotListen(this.path, failure)
    }
    this.#stopLooking = lookRegularly(() => this.#look())
  }

  /** Removes the path if it still names our socket, and nothing else ever. */
  release(): Promise<void> {
    this.#released ??= this.#release().catch((failure: unknown) => {
      // What is in the way may be gone the next time.
      this.#released = undefined
      throw failure
    })
    return this.#released
  }

  async #release(): Promise<void> {
    this.#stopLooking?.()
    await this.#remaking
    if (this.#identity) await removeIfSame(this.path, this.#identity)
  }

  async #make(takeOver: boolean): Promise<void> {
    const inTheWay = await replaceableAt(this.path, takeOver)
    const temporary = await bindBeside(this.#server, this.path)
    try {
      // Taken from the name that nobody else knows: at the public one somebody may already have replaced us.
      const identity = await identityOf(temporary)
      await putInPlace(temporary, this.path, inTheWay, takeOver)
      this.#identity = identity
    } finally {
      await unlink(temporary).catch(() => undefined)
    }
  }

  async #look(): Promise<void> {
    const found = await identityOf(this.path).catch(() => undefined)
    if (this.#released || this.#remaking) return
    // Closed by its owner; we close it ourselves only to make its socket again, and are not done until we have.
    if (!this.#server.listening && !this.#lost) return this.#stopLooking?.()
    if (found && this.#identity && same(found, this.#identity)) return this.#tell(undefined)
    if (found && performance.now() < this.#waitUntilMs) return undefined
    // Not waited for: another socket's trouble must not keep this one from being looked at.
    this.#remaking = this.#remake().finally(() => (this.#remaking = undefined))
  }

  async #remake(): Promise<void> {
    try {
      await directoryAgain(this.#directory!)
      if ((await standingAt(this.path)) === 'live socket') return this.#onReplaced()
      this.#replaced = false
      // Who had connected before it was deleted has waited long enough, and must not be reset.
      await acceptWaiting(this.#server)
      if (this.#released) return
      // As http.Server does it, it would close idle connections, too.
      Server.prototype.close.call(this.#server)
      await this.#make(false)
      this.#lost = undefined
      this.#onChange(undefined)
    } catch (failure) {
      this.#tell(cannotListen(this.path, failure))
    }
  }

  #onReplaced(): void {
    // Told only at the second look: whoever takes over from us has us release it a moment later.
    if (this.#replaced) {
      this.#tell(busy(this.path, 'another process serves it'))
      this.#waitUntilMs = performance.now() + REPLACED_PAUSE_MS
    }
    this.#replaced = true
  }

  #tell(lost: DproxyError | undefined): void {
    if (lost?.message === this.#lost?.message) return
    this.#lost = lost
    this.#onChange(lost)
  }
}
