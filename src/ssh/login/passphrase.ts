import type { KeyObject } from 'node:crypto'
import { printable } from '../../base/text.js'
import { where } from '../target.js'
import type { Context } from './context.js'
import type { KeyFile } from './key-file.js'
import { toGive } from './knowledge.js'
import { Stopped, type Problem } from './story.js'
import { unlock, openKey, type Unlocked } from './unlock.js'

// A wrong passphrase costs the server nothing, so whoever mistypes may type again.
const MOST_TRIES = 3

/** The private key of `file`; undefined when it cannot be had, which the story then tells. */
export const privateKeyOf = (file: KeyFile, context: Context): Promise<KeyObject | undefined> =>
  file.encrypted
    ? context.waiting.during(() =>
        context.help.unlocked.getOrOpen(file, () => unlocked(file, context), context.signal),
      )
    : Promise.resolve().then(() => plain(file, context))

const plain = (file: KeyFile, { story }: Context): KeyObject | undefined => {
  try {
    return openKey(file)
  } catch (failure) {
    story.problem(noUse(file, failure instanceof Error ? failure.message : String(failure)))
    return undefined
  }
}

const unlocked = async (file: KeyFile, context: Context): Promise<KeyObject | undefined> => {
  const { help, story, waiting, signal } = context
  const stored = await waiting.during(() => help.secrets.passphrase(file.file, signal))
  let sofar = 'it is encrypted, and its passphrase is not stored'
  const minor = stored.kind === 'none' || (stored.kind === 'problem' && stored.minor === true)
  if (stored.kind === 'problem') {
    sofar = `it is encrypted, and its passphrase could not be had: ${printable(stored.why)}`
  }
  if (stored.kind === 'found') {
    const from = printable(stored.from)
    const outcome = await tried(file, stored.value, context)
    if (outcome.kind === 'open') return outcome.key
    if (outcome.kind === 'failed') return failed(file, outcome.why, context)
    sofar = `the passphrase from ${from} ${stored.value === '' ? 'is empty' : 'does not open it'}`
  }
  if (help.ask) return asked(file, minor ? '' : sofar, context)
  const advised = advice(file, context)
  story.problem({
    of: 'key',
    code: 'LOGIN_PASSPHRASE',
    why: `the key file ${printable(file.file)} cannot be used: ${sofar}, and nobody can be asked for it`,
    hint:
      stored.kind === 'problem' && !minor
        ? `${printable(stored.hint)}; or ${advised}`
        : printable(`on a terminal: dproxy up ${context.resolved.typed}; or ${advised}`),
  })
  return undefined
}

const asked = async (file: KeyFile, sofar: string, context: Context): Promise<KeyObject | undefined> => {
  const name = printable(file.file)
  let before = sofar && `For ${name}: ${sofar}.\n`
  for (let tries = 1; tries <= MOST_TRIES; tries += 1) {
    const answer = await questionFor(file, before, context)
    if (answer === null) {
      const why = `the passphrase of the key file ${name} was asked for and not given`
      throw new Stopped({ of: 'key', code: 'LOGIN_NEEDS_PERSON', why, hint: advice(file, context) })
    }
    if (answer === '') {
      const why = `the key file ${name} was passed over: its passphrase was left empty`
      return noKey(why, file, context)
    }
    const outcome = await tried(file, answer, context)
    if (outcome.kind === 'open') return outcome.key
    if (outcome.kind === 'failed') return failed(file, outcome.why, context)
    before = `That passphrase is wrong (${tries} of ${MOST_TRIES} tries).\n`
  }
  return noKey(`the passphrase typed for the key file ${name} was wrong ${MOST_TRIES} times`, file, context)
}

const questionFor = async (
  { file }: KeyFile,
  before: string,
  { help, waiting, resolved, signal }: Context,
): Promise<string | null> => {
  const name = printable(file)
  const answers = await waiting.during(
    async () =>
      (await help.ask?.(
        {
          kind: 'passphrase',
          text: `${before}To log in to ${printable(where(resolved))}, the key file ${name} must be unlocked.`,
          prompts: [{ text: `Passphrase of ${name}: `, echo: false }],
        },
        signal,
      )) ?? null,
  )
  return answers && (answers[0] ?? '')
}

const tried = (file: KeyFile, passphrase: string, context: Context): Promise<Unlocked> =>
  passphrase === ''
    ? Promise.resolve({ kind: 'wrong' })
    : context.waiting.during(() => unlock(file, passphrase, context.signal))

const failed = (file: KeyFile, why: string, { story }: Context): undefined => {
  story.problem(noUse(file, why))
  return undefined
}

const noKey = (why: string, file: KeyFile, context: Context): undefined => {
  context.story.problem({ of: 'key', code: 'LOGIN_PASSPHRASE', why, hint: advice(file, context) })
  return undefined
}

const noUse = ({ file }: KeyFile, why: string): Problem => ({
  of: 'key',
  code: 'LOGIN_KEY_FILE',
  why: printable(`the key file ${file} cannot be read as a private key (${why})`),
  hint: printable(
    `load it into your agent: ssh-add ${file}; or write it anew: ssh-keygen -p -Z aes256-ctr -f ${file}`,
  ),
})

const advice = ({ file }: KeyFile, { help }: Context): string =>
  printable(`load it into your agent: ssh-add ${file}; or ${toGive('passphrase', 'store it', help)}`)
