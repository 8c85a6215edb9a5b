import type { AnyAuthMethod, ParsedKey } from 'ssh2'
import { printable } from '../../base/text.js'
import { within } from '../../base/timeout.js'
import { signByAgent } from './agent.js'
import type { Context } from './context.js'
import { parsed, type Identity } from './identities.js'
import { privateKeyOf } from './passphrase.js'
import { presigned, signWith, SigningAgent } from './signing.js'
import type { Way } from './way.js'
import { publicBlobOf } from './wire.js'

// A touch or a confirmation takes its time, an agent that hangs must not take all of it.
const AGENT_SIGNS_WITHIN_MS = 30_000

/** A key that the server was told of. */
interface Offer {
  readonly identity: Identity
  readonly publicKey: ParsedKey
  /** Set once the server said that the key would do. */
  state: 'asked' | 'no signature' | { readonly data: Buffer; readonly signature: Buffer } | 'signed'
}

/**
 * Login by public key: offers the public halves one by one, signs only with a key that the server takes (RFC 4252
 * section 7), and so asks only for a passphrase that is needed.
 *
 * ssh2's `publickey` signs at once, and its `agent` does not tell whether a signature was a partial success
 * (lib/client.js, USERAUTH_FAILURE). So each key is offered as if an agent held it, which leaves time to unlock,
 * touch or confirm; and once the signature is there, the same key is put again, as one that signs at once.
 * OpenSSH counts neither question.
 */
export class PublicKeys implements Way {
  readonly method = 'publickey'
  readonly #context: Context
  readonly #left: Identity[]
  readonly #offered = new Set<string>()
  #offer: Offer | undefined

  constructor(identities: readonly Identity[], context: Context) {
    this.#left = [...identities]
    this.#context = context
  }

  async next(): Promise<AnyAuthMethod | undefined> {
    const username = this.#context.resolved.user
    const offer = this.#offer
    if (offer && typeof offer.state === 'object') {
      const key = presigned(offer.publicKey, offer.state.data, offer.state.signature)
      offer.state = 'signed'
      return { type: 'publickey', username, key }
    }
    for (let identity = this.#left.shift(); identity; identity = this.#left.shift()) {
      const publicKey = identity.publicKey ?? (await this.#publicHalf(identity))
      const id = publicKey?.getPublicSSH().toString('base64')
      if (!publicKey || id === undefined || this.#offered.has(id)) continue
      this.#offered.add(id)
      const made: Offer = { identity, publicKey, state: 'asked' }
      this.#offer = made
      const agent = new SigningAgent(publicKey, (data, hash) => this.#sign(made, data, hash))
      return { type: 'agent', username, agent }
    }
    return undefined
  }

  notYetIn(more: boolean): void {
    const offer = this.#offer
    if (!offer || typeof offer.state === 'object') return
    this.#offer = undefined
    const { tried } = this.#context.story
    const what = offer.identity.label
    if (offer.state === 'asked') tried.push({ kind: 'key', what, result: 'refused' })
    if (offer.state === 'signed') tried.push({ kind: 'key', what, result: more ? 'more' : 'not admitted' })
  }

  /** The public half that only the private one tells: the passphrase comes first. */
  async #publicHalf({ signer }: Identity): Promise<ParsedKey | undefined> {
    if (signer.kind === 'agent') return undefined
    const key = await privateKeyOf(signer, this.#context)
    const blob = key && publicBlobOf(key)
    return blob && parsed(blob)
  }

  async #sign(offer: Offer, data: Buffer, hash: string | undefined): Promise<void> {
    offer.state = 'no signature'
    const { signer } = offer.identity
    try {
      const signature =
        signer.kind === 'agent'
          ? await this.#signByAgent(signer.socket, offer, data, hash)
          : await privateKeyOf(signer, this.#context).then((key) => key && signWith(key, data, hash))
      if (signature) offer.state = { data, signature }
    } catch (failure) {
      if (!this.#context.signal.aborted) this.#context.story.stop(failure)
    }
  }

  async #signByAgent(
    socket: string,
    { identity, publicKey }: Offer,
    data: Buffer,
    hash: string | undefined,
  ): Promise<Buffer | undefined> {
    const { waiting, story, signal } = this.#context
    const what = { blob: publicKey.getPublicSSH(), data, hash }
    try {
      return await waiting.during(() =>
        within(AGENT_SIGNS_WITHIN_MS, signal, late, (limit) => signByAgent(socket, what, limit)),
      )
    } catch (failure) {
      signal.throwIfAborted()
      const why = printable(failure instanceof Error ? failure.message : String(failure))
      story.problem({
        of: 'key',
        code: 'LOGIN_NEEDS_PERSON',
        why: `the server takes ${identity.label}, but the agent gave no signature: ${why}`,
        hint: 'confirm or touch when asked; a locked agent opens with: ssh-add -X',
      })
      return undefined
    }
  }
}

const late = (): Error => new Error('it did not answer within 30 s; does it wait for a touch or an answer?')
