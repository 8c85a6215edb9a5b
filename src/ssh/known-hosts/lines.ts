/** The lines of known_hosts, sshd(8) SSH_KNOWN_HOSTS FILE FORMAT, as latin1: one character a byte. */
import { keyType } from './fingerprint.js'

/** One usable line of a file. */
export interface KnownKey {
  readonly file: string
  /** Counted from 1. */
  readonly line: number
  readonly type: string
  /** A plain key in SSH's wire format (RFC 4253 section 6.6). */
  readonly blob: Buffer
}

export interface Line {
  readonly kind: 'line'
  readonly marker: '@cert-authority' | '@revoked' | undefined
  /** Who it is about: a list of patterns, or one hashed name. */
  readonly hosts: string
  readonly type: string
  readonly base64: string
}

export type Parsed =
  | Line
  | { readonly kind: 'blank' }
  | { readonly kind: 'malformed' }
  /** `@REVOKED`, `@revokd`: it says something that may matter, and we do not know what. */
  | { readonly kind: 'unknown marker'; readonly marker: string }

export const parseLine = (text: string): Parsed => {
  const fields = fieldsOf(text)
  const [first] = fields
  if (first === undefined || first.startsWith('#')) return { kind: 'blank' }
  const marker = first.startsWith('@') ? first : undefined
  if (marker !== undefined && !isMarker(marker)) return { kind: 'unknown marker', marker }
  const [hosts, type, base64] = marker === undefined ? fields : fields.slice(1)
  if (hosts === undefined || type === undefined || base64 === undefined) return { kind: 'malformed' }
  return { kind: 'line', marker, hosts, type, base64 }
}

/**
 * The key of a line in wire format: plain or a certificate, its inside not looked at. Undefined when it is not
 * base64 as RFC 4648 has it, or of another type than the line says.
 */
export const blobOf = ({ type, base64 }: Pick<Line, 'type' | 'base64'>): Buffer | undefined => {
  const blob = Buffer.from(base64, 'base64')
  return blob.toString('base64') === base64 && keyType(blob) === type ? blob : undefined
}

/** The first fields of a line, parted by spaces and tabs alone: enough for every use. */
export const fieldsOf = (text: string): string[] => {
  // C's strings end at a NUL, and so do ssh's lines; what stands behind it does not count.
  const [line = ''] = text.split('\0', 1)
  return line
    .replace(/^[ \t]+|\r$/gu, '')
    .split(/[ \t]+/u, 4)
    .filter((field) => field !== '')
}

const isMarker = (word: string): word is '@cert-authority' | '@revoked' =>
  word === '@cert-authority' || word === '@revoked'
