/**
 * known_hosts(5) as far as fail-closed needs it: an equal plain or hashed line accepts a key, a @revoked line
 * refuses it everywhere, and whatever else a file says accepts nothing.
 */
import { createHash, createHmac } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { DproxyError, errnoOf } from '../base/errors.js'

/** One usable line of a known_hosts file. */
export interface KnownKey {
  readonly file: string
  /** Counted from 1. */
  readonly line: number
  readonly type: string
  /** The key in SSH's wire format (RFC 4253 section 6.6). */
  readonly blob: Buffer
}

/** What the files say of one host name. */
export interface KnownHost {
  /** The keys of lines that name the host. */
  readonly keys: readonly KnownKey[]
  /** Keys that must never be accepted, whatever host they were revoked for. */
  readonly revoked: readonly KnownKey[]
}

export type Verdict =
  | { readonly kind: 'known' }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'changed'; readonly known: KnownKey }
  | { readonly kind: 'revoked'; readonly known: KnownKey }

/**
 * Reads what `files` say of `name` (`host` or `[host]:port`). A missing file says nothing.
 * @throws DproxyError HOST_KEY_UNREADABLE when a file is there and cannot be read: it may hold a revocation
 */
export const readKnownHosts = async (files: readonly string[], name: string): Promise<KnownHost> => {
  const keys: KnownKey[] = []
  const revoked: KnownKey[] = []
  for (const file of files) {
    const text = await readIfThere(file)
    for (const [index, line] of text.split('\n').entries()) {
      const parsed = parseLine(line)
      if (!parsed) continue
      const known: KnownKey = { file, line: index + 1, type: parsed.type, blob: parsed.blob }
      if (parsed.marker === '@revoked') revoked.push(known)
      else if (parsed.marker === undefined && names(parsed.hosts, name)) keys.push(known)
    }
  }
  return { keys, revoked }
}

/** Judges the key that a server showed. Another key for the same name means changed, whatever its type. */
export const judge = ({ keys, revoked }: KnownHost, shown: Buffer): Verdict => {
  const bad = revoked.find(({ blob }) => blob.equals(shown))
  if (bad) return { kind: 'revoked', known: bad }
  if (keys.some(({ blob }) => blob.equals(shown))) return { kind: 'known' }
  const [other] = keys
  return other ? { kind: 'changed', known: other } : { kind: 'unknown' }
}

/** A key's fingerprint as `ssh-keygen -lf` prints it. */
export const fingerprint = (blob: Buffer): string =>
  `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/u, '')}`

/** The algorithm name at the head of a key in wire format; empty when it is not one. */
export const keyType = (blob: Buffer): string => {
  if (blob.length < 4) return ''
  const length = blob.readUInt32BE(0)
  return length <= blob.length - 4 ? blob.toString('latin1', 4, 4 + length) : ''
}

const readIfThere = async (file: string): Promise<string> => {
  try {
    return await readFile(file, 'utf8')
  } catch (failure) {
    if (errnoOf(failure) === 'ENOENT' || errnoOf(failure) === 'ENOTDIR') return ''
    throw new DproxyError(
      'HOST_KEY_UNREADABLE',
      `cannot read ${file}: ${errnoOf(failure) ?? String(failure)}`,
      {
        stage: 'host key',
        hint: 'make it readable, or name another one with `knownHostsFile:`',
        cause: failure,
      },
    )
  }
}

interface Line {
  readonly marker: string | undefined
  readonly hosts: string
  readonly type: string
  readonly blob: Buffer
}

const parseLine = (line: string): Line | undefined => {
  const fields = line.split(/[ \t\r]+/u).filter((field) => field !== '')
  if (fields.length === 0 || fields[0]?.startsWith('#')) return undefined
  const marker = fields[0]?.startsWith('@') ? fields.shift()?.toLowerCase() : undefined
  const [hosts, type, base64] = fields
  if (hosts === undefined || type === undefined || base64 === undefined) return undefined
  const blob = Buffer.from(base64, 'base64')
  return keyType(blob) === type ? { marker, hosts, type, blob } : undefined
}

const names = (hosts: string, name: string): boolean => {
  if (hosts.startsWith('|')) return hashed(hosts, name)
  const patterns = hosts.toLowerCase().split(',')
  // A negated pattern can only take hosts away; a line that has one vouches for nothing here.
  return !hosts.includes('!') && patterns.includes(name.toLowerCase())
}

const hashed = (hosts: string, name: string): boolean => {
  const [, version, salt, hash, ...rest] = hosts.split('|')
  if (version !== '1' || salt === undefined || hash === undefined || rest.length > 0) return false
  return createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest('base64') === hash
}
