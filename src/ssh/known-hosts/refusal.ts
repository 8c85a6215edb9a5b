import { DproxyError } from '../../base/errors.js'
import { count, printable, shellWord } from '../../base/text.js'
import { address } from '../target.js'
import { fingerprint, keyType } from './fingerprint.js'
import type { Verdict } from './judge.js'
import type { KnownKey } from './lines.js'
import { knownHostsName } from './names.js'
import type { Lookup } from './read.js'

/** Why the key `shown` is not accepted; undefined when it is. */
export const refusalOf = (
  { hostKeyName, typed }: Pick<Lookup, 'hostKeyName'> & { readonly typed?: string },
  verdict: Verdict,
  shown: Buffer,
): DproxyError | undefined => {
  const server = printable(address(hostKeyName))
  const key = described(keyType(shown), shown)
  const trust = typed === undefined ? 'dproxy trust' : `dproxy trust ${shellWord(typed)}`
  switch (verdict.kind) {
    case 'known':
      return undefined
    case 'unknown':
      return refused('HOST_KEY_UNKNOWN', `${server} showed a host key that is not known: ${key}`, {
        hint: `compare the fingerprint with the server's own, then store it: ${trust}`,
      })
    case 'changed':
      return refused(
        'HOST_KEY_CHANGED',
        `the host key of ${server} is not the one that is known: it showed ${key}, but ${knownOf(verdict.lines, keyType(shown))}; somebody may be in between`,
        {
          hint: `only if the server's key was changed on purpose: ${removal(knownHostsName(hostKeyName), verdict.lines)}, then: ${trust}`,
        },
      )
    case 'revoked':
      return refused(
        'HOST_KEY_REVOKED',
        `the host key of ${server} is revoked: ${key} (${verdict.lines.map(placeOf).join(', ')})`,
        { hint: 'do not connect; ask whoever runs the server' },
      )
    case 'unknown-ca':
      return refused(
        'HOST_KEY_UNPROVEN',
        `a certificate authority vouches for ${server} (${verdict.lines.map(placeOf).join(', ')}), but ${verdict.why}: ${key}`,
        { hint: 'ssh2 cannot check host certificates, OpenSSH can: set `transport: openssh` for this host' },
      )
    default:
      return verdict satisfies never
  }
}

/** A key that is not the accepted one, shown when new session keys were made (RFC 4253, section 9). */
export const swapped = (
  { hostKeyName }: Pick<Lookup, 'hostKeyName'>,
  accepted: Buffer,
  shown: Buffer,
): DproxyError =>
  refused(
    'HOST_KEY_CHANGED',
    `${printable(address(hostKeyName))} showed another host key within one connection: first ${described(keyType(accepted), accepted)}, then ${described(keyType(shown), shown)}`,
    { hint: 'do not connect; ask whoever runs the server' },
  )

/** Bytes that are no public key, or one of a kind that SSH servers do not have. */
export const noKey = ({ hostKeyName }: Pick<Lookup, 'hostKeyName'>): DproxyError =>
  new DproxyError(
    'HANDSHAKE_FAILED',
    `${printable(address(hostKeyName))} showed a host key that cannot be read`,
    { stage: 'host key', hint: "is that port an SSH server's?" },
  )

const refused = (
  code: 'HOST_KEY_UNKNOWN' | 'HOST_KEY_CHANGED' | 'HOST_KEY_REVOKED' | 'HOST_KEY_UNPROVEN',
  message: string,
  { hint }: { hint: string },
): DproxyError => new DproxyError(code, message, { stage: 'host key', hint })

const described = (type: string, blob: Buffer): string => `${printable(type)} ${fingerprint(blob)}`

const placeOf = ({ file, line }: KnownKey): string => `${printable(file)} line ${line}`

// The line that says most: one with a key of the type that was shown.
const knownOf = (known: readonly KnownKey[], type: string): string => {
  const one = known.find((line) => line.type === type) ?? known.at(-1)
  if (!one) return 'another is known'
  const more = known.length > 1 ? ` (and ${count(known.length - 1, 'other line')})` : ''
  return `${placeOf(one)} has ${described(one.type, one.blob)}${more}`
}

const removal = (name: string, known: readonly KnownKey[]): string =>
  [...new Set(known.map(({ file }) => file))]
    .map((file) => `ssh-keygen -R '${printable(name).replaceAll("'", "'\\''")}' -f ${shellWord(file)}`)
    .join(' && ')
