import { readFileSync } from 'node:fs'
import { DproxyError } from '../../base/errors.js'
import { shellWord } from '../../base/text.js'
import { fingerprint } from '../known-hosts/fingerprint.js'
import { address } from '../target.js'
import { find, type Ended } from './ended.js'

/** Why ssh refused the server's key, in its own findings; undefined when it did not. */
export const explainHostKey = (ended: Ended): DproxyError | undefined => {
  if (find(ended.log, /^(Host key verification failed)/u).length === 0) return undefined
  return revoked(ended) ?? changed(ended) ?? unknown(ended)
}

const revoked = ({ resolved, log }: Ended): DproxyError | undefined => {
  const [file] = find(log, /^Host key \S+ \S+ revoked by file (.*)$/u)
  const [marked] = find(log, /^(The \S+ host key for .* is marked as revoked)/u)
  if (file === undefined && marked === undefined) return undefined
  return new DproxyError(
    'HOST_KEY_REVOKED',
    `the host key of ${address(resolved)} is revoked: ${log.hostKey ?? 'ssh did not say which'} (${file ?? 'a @revoked line in known_hosts'})`,
    { stage: 'host key', hint: 'do not connect; ask whoever runs the server' },
  )
}

const changed = ({ resolved, log }: Ended): DproxyError | undefined => {
  const [name] = find(log, /^Host key for (\S+) has changed/u)
  if (name === undefined) return undefined
  const [place] = find(log, /^Offending (\S+ key in .*)$/u)
  const file = /^\S+ key in (.*):\d+$/u.exec(place ?? '')?.[1]
  return new DproxyError(
    'HOST_KEY_CHANGED',
    `the host key of ${address(resolved)} is not the one that is known: it showed ${log.hostKey ?? 'another'}, but ${knownAt(place)}; somebody may be in between`,
    {
      stage: 'host key',
      hint: `only if the server's key was changed on purpose: ssh-keygen -R '${name}'${file === undefined ? '' : ` -f ${shellWord(file)}`}, then: dproxy trust ${shellWord(resolved.typed)}`,
    },
  )
}

/** The line that ssh names as offending, with the fingerprint of its key where it can be read. */
const knownAt = (place: string | undefined): string => {
  const [, type, file, line] = /^(\S+) key in (.*):(\d+)$/u.exec(place ?? '') ?? []
  if (file === undefined) return 'another is known'
  try {
    const text =
      readFileSync(file, 'latin1')
        .split('\n')
        .at(Number(line) - 1) ?? ''
    const fields = text.trim().split(/[ \t]+/u)
    const blob = Buffer.from(fields.at(fields[0]?.startsWith('@') ? 3 : 2) ?? '', 'base64')
    if (blob.length > 0) return `${file} line ${line} has ${type} ${fingerprint(blob)}`
  } catch {
    // It can be read no more.
  }
  return `${file} line ${line} has another ${type} key`
}

const unknown = ({ resolved, log, words }: Ended): DproxyError =>
  new DproxyError(
    'HOST_KEY_UNKNOWN',
    `${address(resolved)} showed a host key that is not known: ${log.hostKey ?? 'ssh did not say which'}`,
    {
      stage: 'host key',
      hint: `compare the fingerprint with the server's own, then store it: dproxy trust ${shellWord(resolved.typed)}; or, where that cannot see the key: ssh -o StrictHostKeyChecking=ask ${words} true`,
    },
  )
