import { DproxyError } from '../base/errors.js'
import { unless } from '../base/timeout.js'
import { fingerprint, keyType } from './known-hosts/fingerprint.js'
import { judge } from './known-hosts/judge.js'
import { learnHostKey } from './known-hosts/learn.js'
import { readKnownHosts } from './known-hosts/read.js'
import type { Ask } from './person.js'
import { address, type Resolved } from './target.js'

/**
 * After a connection that failed because the host key is not known: shows the key to the person and, if they
 * accept it, stores it. Resolves with whether it is worth trying again. Every other failure, a key that has
 * changed above all, is left as it is.
 * @throws DproxyError HOST_KEY_NOT_STORED when the accepted key could not be stored: then it is not trusted
 */
export const mayTrust = async (
  resolved: Resolved,
  failure: unknown,
  ask: Ask | null,
  signal: AbortSignal,
): Promise<boolean> => {
  const shown = unknownKeyOf(failure)
  if (!ask || !shown || resolved.neverAskHostKey) return false
  const id = JSON.stringify([resolved.hostKeyName, resolved.knownHostsFiles, shown.toString('base64')])
  return inTurn(id, signal, async () => {
    // Somebody was asked about the same key just before, for another host behind the same jump host.
    if (judge(await readKnownHosts(resolved, signal), shown).kind === 'known') return true
    return isAccepted(resolved, shown, ask, signal)
  })
}

const isAccepted = async (
  resolved: Resolved,
  shown: Buffer,
  ask: Ask,
  signal: AbortSignal,
): Promise<boolean> => {
  const [file] = resolved.knownHostsFiles
  const answers = await ask(
    {
      kind: 'host key',
      text: [
        `${address(resolved)} is not known yet. Its host key is`,
        `  ${keyType(shown)} ${fingerprint(shown)}`,
        "Compare the fingerprint with the server's own (there: ssh-keygen -lf, or ask whoever runs it).",
      ].join('\n'),
      prompts: [
        {
          text: `Trust it and store it in ${file ?? 'known_hosts'}? [yes, no, or the fingerprint]`,
          echo: true,
        },
      ],
    },
    signal,
  )
  const answer = answers?.[0]?.trim() ?? ''
  if (!/^yes$/iu.test(answer) && answer !== fingerprint(shown)) return false
  await learnHostKey(resolved, shown)
  return true
}

const TURNS = new Map<string, Promise<void>>()

/** Runs `work` after all that came before by the same id. */
const inTurn = <T>(id: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> => {
  const mine = (TURNS.get(id) ?? Promise.resolve()).then(() => {
    signal.throwIfAborted()
    return work()
  })
  const over = mine.then(nothing, nothing).then(() => void (TURNS.get(id) === over && TURNS.delete(id)))
  TURNS.set(id, over)
  return unless([signal], mine)
}

const nothing = (): void => undefined

/** The key that was refused because it is not known. */
export class UnknownHostKey extends DproxyError {
  readonly shown: Buffer

  constructor({ code, message, hint, stage }: DproxyError, shown: Buffer) {
    super(code, message, { hint, stage })
    this.shown = shown
  }
}

const unknownKeyOf = (failure: unknown): Buffer | undefined =>
  failure instanceof UnknownHostKey ? failure.shown : undefined
