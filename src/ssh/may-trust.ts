import { DproxyError } from '../base/errors.js'
import { fingerprint, keyType } from './known-hosts/fingerprint.js'
import { learnHostKey } from './known-hosts/learn.js'
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
