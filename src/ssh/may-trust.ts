import { DproxyError } from '../base/errors.js'
import { shellWord } from '../base/text.js'
import { unless } from '../base/timeout.js'
import { fingerprint, keyType } from './known-hosts/fingerprint.js'
import { judge } from './known-hosts/judge.js'
import { learnHostKey } from './known-hosts/learn.js'
import { readKnownHosts } from './known-hosts/read.js'
import type { Ask, Question } from './person.js'
import { address, type Resolved } from './target.js'

/**
 * After a connection that failed because the host key is not known: shows the key to the person and, if they
 * accept it, stores it. Resolves with whether it is worth trying again. Every other failure, a key that has
 * changed above all, is left as it is.
 * @throws DproxyError HOST_KEY_UNKNOWN when the person does not accept it, HOST_KEY_NOT_STORED when it could not
 * be stored: then it is not trusted
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
  let before = ''
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const answer = (await ask(questionAbout(resolved, shown, before), signal))?.[0]?.trim() ?? 'no'
    if (/^no?$/iu.test(answer)) break
    if (/^yes$/iu.test(answer) || answer === fingerprint(shown)) {
      await learnHostKey(resolved, shown)
      return true
    }
    before = answer.startsWith('SHA256:')
      ? 'That is another fingerprint than the one shown.\n'
      : "Please type 'yes', 'no' or the fingerprint.\n"
  }
  throw new DproxyError('HOST_KEY_UNKNOWN', `you did not accept the host key of ${address(resolved)}`, {
    stage: 'host key',
    hint: `ask whoever runs the server for its fingerprint, then: dproxy trust ${shellWord(resolved.typed)}`,
  })
}

const MOST_TRIES = 3

const questionAbout = (resolved: Resolved, shown: Buffer, before: string): Question => ({
  kind: 'host key',
  text: [
    `${before}${address(resolved)} is not known yet. Its host key is`,
    `  ${keyType(shown)} ${fingerprint(shown)}`,
    `Compare it with the server's own (there: ssh-keygen -lf /etc/ssh/ssh_host_${fileTypeOf(keyType(shown))}_key.pub), or ask whoever runs it.`,
  ].join('\n'),
  prompts: [
    {
      text: `Trust it and store it in ${resolved.knownHostsFiles[0] ?? 'known_hosts'}? [yes, no, or the fingerprint]`,
      echo: true,
    },
  ],
})

/** As sshd names its key files. */
const fileTypeOf = (type: string): string => /ed25519|ecdsa|rsa/u.exec(type)?.[0] ?? '*'

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
