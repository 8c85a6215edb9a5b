import { DproxyError, type ErrorCode } from '../../base/errors.js'
import { where } from '../target.js'
import { find, type Ended } from './ended.js'

/** Why a server that was reached, and whose key was accepted, did not let us in. */
export const explainLogin = (ended: Ended): DproxyError =>
  keyFile(ended) ?? agent(ended) ?? tooMany(ended) ?? lockedKey(ended) ?? needsPerson(ended) ?? refused(ended)

/** A key file that ssh would not touch. */
const keyFile = (ended: Ended): DproxyError | undefined => {
  if (ended.log.methods === null) return undefined
  const [open] = find(ended.log, /^Permissions \d+ for '(.*)' are too open/u)
  if (open !== undefined) {
    return because(
      ended,
      'LOGIN_KEY_FILE',
      `others may read the private key ${open}, so ssh does not use it`,
      `chmod 600 '${open}'`,
    )
  }
  const [bad] = find(ended.log, /^Load key (".*": .*)$/u)
  return bad === undefined
    ? undefined
    : because(
        ended,
        'LOGIN_KEY_FILE',
        `ssh cannot read the private key ${bad}`,
        `see what it says: ssh -v ${ended.words}`,
      )
}

const agent = (ended: Ended): DproxyError | undefined => {
  const [why] = find(ended.log, /^(sign_and_send_pubkey: signing failed for .*)$/u)
  return why === undefined
    ? undefined
    : because(
        ended,
        'LOGIN_REFUSED',
        why,
        'is the agent locked, or does it wait for a confirmation or a touch? see: ssh-add -l',
      )
}

const tooMany = (ended: Ended): DproxyError | undefined => {
  const [said] = find(ended.log, /^Received disconnect from .*?: ?(Too many authentication failures.*)$/u)
  return said === undefined
    ? undefined
    : because(
        ended,
        'LOGIN_REFUSED',
        'too many keys were offered before the right one',
        'name the right one with `identityFile:`, or load fewer keys into the agent',
      )
}

/** The server would take a key whose private half nobody could open without its passphrase. */
const lockedKey = (ended: Ended): DproxyError | undefined => {
  const { acceptedKey } = ended.log
  return acceptedKey === null
    ? undefined
    : because(
        ended,
        'LOGIN_PASSPHRASE',
        `the server takes the key ${acceptedKey}, but it is locked by a passphrase, and the openssh transport asks no questions`,
        `give it to your agent: ssh-add '${acceptedKey}'`,
      )
}

const needsPerson = (ended: Ended): DproxyError | undefined => {
  const methods = taken(ended)
  return methods.length === 0 || methods.some((method) => !ASKS.has(method))
    ? undefined
    : because(
        ended,
        'LOGIN_NEEDS_PERSON',
        `the server takes only ${methods.join(', ')}, and the openssh transport asks no questions`,
        'use a key, or set `transport: ssh2`',
      )
}

const ASKS = new Set(['password', 'keyboard-interactive'])

const refused = (ended: Ended): DproxyError => {
  const { log, words } = ended
  const methods = taken(ended)
  if (methods.length === 0) {
    return because(
      ended,
      'HANDSHAKE_FAILED',
      log.lastLine ?? 'the server hung up',
      `look at its log (journalctl -u ssh), or try: ssh -v ${words}`,
    )
  }
  const locked = log.locked.length === 0 ? '' : ` (a key with a passphrase must be in the agent: ssh-add)`
  return because(
    ended,
    'LOGIN_REFUSED',
    `the server takes ${methods.join(', ')}, and nothing that ssh has was accepted${locked}`,
    `is the public key in authorized_keys there, and the user name right? see what ssh tries: ssh -v ${words}`,
  )
}

/** The methods that the server names as it refuses. */
const taken = ({ log }: Ended): string[] => {
  const [methods] = find(log, /Permission denied \(([^)]*)\)/u)
  return methods === undefined || methods === '' ? [] : methods.split(',')
}

const because = ({ resolved }: Ended, code: ErrorCode, why: string, hint: string): DproxyError =>
  new DproxyError(code, `cannot log in to ${where(resolved)}: ${why}`, { stage: 'login', hint })
