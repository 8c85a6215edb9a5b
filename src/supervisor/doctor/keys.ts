import { stat } from 'node:fs/promises'
import { count, list } from '../../base/text.js'
import { fingerprint, keyType } from '../../ssh/known-hosts/fingerprint.js'
import { listOf, socketOf } from '../../ssh/login/identities.js'
import { readKeyFile, type KeyFile, type PublicHalf } from '../../ssh/login/key-file.js'
import type { Resolved } from '../../ssh/target.js'
import { octal } from './config.js'
import type { Notes } from './report.js'

/** Looks at each private key file that may be offered. What is wrong with one warns: the login may do without. */
export const lookAtKeyFiles = async (
  { identityFiles, identitiesNamed }: Pick<Resolved, 'identityFiles' | 'identitiesNamed'>,
  notes: Notes,
): Promise<void> => {
  const missing: string[] = []
  for (const file of identityFiles) {
    const found = await readKeyFile(file)
    if (found.kind !== 'unusable') notes.fact(`${file}: ${await described(file, found)}`)
    else if (found.missing === true && !identitiesNamed) missing.push(file)
    else notes.warn({ code: 'LOGIN_KEY_FILE', message: found.why, hint: found.hint })
  }
  if (missing.length > 0) notes.fact(`not there: ${list(missing)}`)
  if (missing.length === identityFiles.length) notes.fact('no key file: an agent or a password has to do')
}

const described = async (file: string, found: KeyFile | PublicHalf): Promise<string> => {
  const key = found.blob
    ? `${keyType(found.blob)} ${fingerprint(found.blob)}`
    : 'of a type only its passphrase tells'
  if (found.kind === 'public') return `${key}, the public half alone: an agent must have the other`
  const mode = `mode ${octal((await stat(file)).mode)}`
  const beside = await stat(`${file}.pub`).then(
    () => 'has its .pub beside it',
    () => 'no .pub beside it',
  )
  return [key, mode, found.encrypted ? 'encrypted' : 'not encrypted', beside].join(', ')
}

// Servers hang up after six tries unless told otherwise (sshd_config(5), MaxAuthTries), and each key is one.
const MOST_TRIES = 6

/** Asks the agent what it holds, within its limit. Whatever is wrong with it warns: key files may do. */
export const lookAtAgent = async (
  where: Pick<Resolved, 'agent' | 'identitiesOnly' | 'identityFiles' | 'identitiesNamed' | 'alias'>,
  agentSocket: string | null,
  notes: Notes,
  signal: AbortSignal,
): Promise<void> => {
  const socket = socketOf(where, agentSocket)
  if (socket === null) {
    const why = where.agent === 'none' ? 'IdentityAgent is none' : 'SSH_AUTH_SOCK is not set'
    return notes.fact(`${why}: no agent is asked`)
  }
  const name = `the ssh-agent at ${socket}`
  try {
    const keys = await listOf(socket, signal)
    notes.fact(`${name} holds ${count(keys.length, 'key')}`)
    for (const { blob, comment } of keys) notes.fact(`${keyType(blob)} ${fingerprint(blob)} ${comment}`)
    if (keys.length === 0) {
      notes.warn({
        code: 'AGENT_EMPTY',
        message: `${name} holds no keys, or is locked`,
        hint: 'load a key: ssh-add; a locked agent opens with: ssh-add -X',
      })
    }
    if (where.identitiesOnly) notes.fact('only the keys of the identity files are taken from it')
    else if (keys.length >= MOST_TRIES) {
      notes.fact(`most servers hang up after ${MOST_TRIES} tries: name the right key with identityFile`)
    }
  } catch (failure) {
    signal.throwIfAborted()
    const why = failure instanceof Error ? failure.message : String(failure)
    notes.warn({
      code: 'AGENT_FAILED',
      message: `${name} gave no keys: ${why}`,
      hint: 'start another one: eval "$(ssh-agent)" && ssh-add',
    })
  }
}
