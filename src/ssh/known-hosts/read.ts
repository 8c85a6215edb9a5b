/** known_hosts(5), as ssh reads it, and in places more strictly: what the files say of one server. */
import { printable } from '../../base/text.js'
import { unless } from '../../base/timeout.js'
import type { HostKeyName, Resolved } from '../target.js'
import { parseCertificate } from './certificate.js'
import { eachLine, isMissing, unreadable } from './each-line.js'
import { blobOf, parseLine, type KnownKey, type Line } from './lines.js'
import { knownHostsName, namer, nameWithoutPort } from './names.js'
import { plainKey } from './plain-key.js'
import { readRevokedKeys } from './revoked-keys.js'

/** The lines for one name, in the order of the files. */
export interface NamedLines {
  readonly keys: readonly KnownKey[]
  /** Lines with @cert-authority. */
  readonly authorities: readonly KnownKey[]
}

/** What the files say of one server. */
export interface KnownHost extends NamedLines {
  readonly name: HostKeyName
  /** Lines for the host without its port, if that is not 22: they count where nothing names it with the port. */
  readonly withoutPort: NamedLines
  /** Keys that must never be accepted, of a server or of an authority, whatever name they were revoked for. */
  readonly revoked: readonly KnownKey[]
  /** Lines that should have counted and could not be understood: the first few. */
  readonly skipped: readonly { readonly file: string; readonly line: number }[]
}

/** What has to be known of a server to look it up. */
export type Lookup = Pick<Resolved, 'knownHostsFiles' | 'revokedHostKeysFile' | 'hostKeyName'>

/**
 * Reads what the files say now. A missing known_hosts file says nothing; a missing RevokedHostKeys file is an
 * error, as ssh_config(5) has it.
 * @throws DproxyError HOST_KEY_UNREADABLE when a file cannot be read or understood; the signal's reason
 */
export const readKnownHosts = (resolved: Lookup, signal?: AbortSignal): Promise<KnownHost> => {
  const reading = read(resolved, signal)
  // A file on a server that does not answer is read for ever.
  return signal ? unless([signal], reading) : reading
}

const read = async (resolved: Lookup, signal?: AbortSignal): Promise<KnownHost> => {
  const name = resolved.hostKeyName
  const found = { ...noLines(), name, withoutPort: noLines(), revoked: [], skipped: [] }
  const visit = visitorFor(found)
  for (const file of resolved.knownHostsFiles) {
    await eachLine(file, (text, line) => visit(file, text, line), signal).catch((failure: unknown) => {
      if (!isMissing(failure)) throw failure
    })
  }
  const revocations = resolved.revokedHostKeysFile
  if (revocations === null) return found
  return { ...found, revoked: [...found.revoked, ...(await readRevokedKeys(revocations, signal))] }
}

interface Lines {
  keys: KnownKey[]
  authorities: KnownKey[]
}

interface Found extends Lines {
  name: HostKeyName
  withoutPort: Lines
  revoked: KnownKey[]
  skipped: { file: string; line: number }[]
}

const noLines = (): Lines => ({ keys: [], authorities: [] })
const MOST_SKIPPED = 20

const visitorFor = (found: Found): ((file: string, text: string, line: number) => void) => {
  const names = namer(knownHostsName(found.name))
  const bare = nameWithoutPort(found.name)
  const namesBare = bare === undefined ? () => false : namer(bare)
  const listFor = ({ marker, hosts }: Line): KnownKey[] | undefined => {
    if (marker === '@revoked') return found.revoked
    const lines = names(hosts) ? found : namesBare(hosts) ? found.withoutPort : undefined
    return marker === '@cert-authority' ? lines?.authorities : lines?.keys
  }
  const skip = (file: string, line: number) => {
    if (found.skipped.length < MOST_SKIPPED) found.skipped.push({ file, line })
  }
  return (file, text, line) => {
    const parsed = parseLine(text)
    if (parsed.kind === 'blank') return
    if (parsed.kind === 'unknown marker') throw unknownMarker(file, line, parsed.marker)
    if (parsed.kind === 'malformed') return skip(file, line)
    const list = listFor(parsed)
    if (!list) return
    const blob = keyOf(parsed)
    if (blob) list.push({ file, line, type: parsed.type, blob })
    else skip(file, line)
  }
}

// Whoever revokes a certificate by such a line revokes the key in it, as ssh does.
const keyOf = (line: Line): Buffer | undefined => {
  const blob = blobOf(line)
  if (!blob) return undefined
  return plainKey(blob) ?? (line.marker === '@revoked' ? parseCertificate(blob)?.key : undefined)
}

const unknownMarker = (file: string, line: number, marker: string): Error =>
  unreadable(
    file,
    `line ${line} has the marker ${printable(marker)}`,
    undefined,
    'markers are @revoked and @cert-authority, in lower case (sshd(8)): mend that line or remove it',
  )
