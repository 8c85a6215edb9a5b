import { createPrivateKey } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import ssh2 from 'ssh2'
import { errnoOf } from '../../base/errors.js'
import { ownUid } from '../../base/paths.js'
import { keyOfContainer, readContainer } from './container.js'
import { kindOf, publicBlobOf } from './wire.js'

/** A private key on disk, not yet unlocked. */
export interface KeyFile {
  readonly kind: 'private'
  readonly file: string
  readonly text: string
  readonly encrypted: boolean
  /** The public half as it crosses the wire; undefined where only the passphrase can tell. */
  readonly blob: Buffer | undefined
}

/** Only the public half is there: the private one may be in an agent. */
export interface PublicHalf {
  readonly kind: 'public'
  readonly blob: Buffer
}

/** No key, or none for us. */
export interface Unusable {
  readonly kind: 'unusable'
  /** One clause that names the file. */
  readonly why: string
  /** What to do, best a command. */
  readonly hint: string
  readonly missing?: boolean
  /** True when the system's ssh can use it. */
  readonly forOpenssh?: boolean
}

const LONGEST_KEY_FILE = 1024 * 1024

/** Finds out what `file` holds, without any passphrase. */
export const readKeyFile = async (file: string): Promise<KeyFile | PublicHalf | Unusable> => {
  const text = await readText(file)
  if (typeof text !== 'string') {
    // Only the public half is left on this machine, as ssh_config(5) allows for keys that an agent holds.
    const beside = text.missing ? await publicHalfBeside(file) : undefined
    return beside ? { kind: 'public', blob: beside } : text
  }
  const publicHalf = publicHalfIn(text)
  if (publicHalf) return usable(publicHalf) ? { kind: 'public', blob: publicHalf } : ofHardware(file)
  const label = /^-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----$/mu.exec(text)?.[1]?.trim()
  if (label === undefined) return noPrivateKey(file, text)
  const exposed = await openToOthers(file)
  if (exposed) return exposed
  try {
    return label === 'OPENSSH' ? ofContainer(file, text) : await ofPem(file, text, label)
  } catch (failure) {
    return broken(file, failure)
  }
}

const readText = async (file: string): Promise<string | Unusable> => {
  try {
    const found = await stat(file)
    // A device or a pipe would never end; no key is that long.
    if (!(found.isFile() || found.isDirectory()) || found.size > LONGEST_KEY_FILE) return noPrivateKey(file)
    return (await readFile(file, 'latin1')).trim()
  } catch (failure) {
    const errno = errnoOf(failure)
    if (errno === 'ENOENT' || errno === 'ENOTDIR') {
      return {
        kind: 'unusable',
        why: `the key file ${file} does not exist`,
        hint: 'correct the path, or make a key: ssh-keygen -t ed25519',
        missing: true,
      }
    }
    return {
      kind: 'unusable',
      why: `cannot read the key file ${file}: ${errno ?? String(failure)}`,
      hint: `make it readable for you alone: chmod 600 ${file}`,
    }
  }
}

/** A line as in FILE.pub; undefined when it is none. */
const publicHalfIn = (text: string): Buffer | undefined => {
  const [type = '', base64 = ''] = text.split(/[ \t\r\n]+/u, 2)
  const blob = Buffer.from(base64, 'base64')
  try {
    return /^(?:ssh|ecdsa|sk)-/u.test(type) && kindOf(blob) === type ? blob : undefined
  } catch {
    return undefined
  }
}

const publicHalfBeside = async (file: string): Promise<Buffer | undefined> => {
  const text = await readFile(`${file}.pub`, 'latin1').catch(() => '')
  const blob = publicHalfIn(text.trim())
  return blob && usable(blob) ? blob : undefined
}

/** Whether ssh2 knows this kind of key: no certificates, nothing on security keys. */
export const usable = (blob: Buffer): boolean => !(ssh2.utils.parseKey(blob) instanceof Error)

/** OpenSSH's own rule (authfile.c): a key that others can read is treated as no key. */
const openToOthers = async (file: string): Promise<Unusable | undefined> => {
  const { uid, mode } = await stat(file)
  if (uid !== ownUid() || (mode & 0o077) === 0) return undefined
  const octal = (mode & 0o777).toString(8)
  return {
    kind: 'unusable',
    why: `the key file ${file} is open to others (mode ${octal})`,
    hint: `chmod 600 ${file}`,
  }
}

const ofContainer = (file: string, text: string): KeyFile | Unusable => {
  const { cipher, kdf, blob } = readContainer(text)
  if (!usable(blob)) return ofHardware(file)
  if (cipher === 'chacha20-poly1305@openssh.com') {
    return {
      kind: 'unusable',
      why: `the key file ${file} is encrypted with ${cipher}, which cannot be read here`,
      hint: `load it into your agent: ssh-add ${file}; or encrypt it anew: ssh-keygen -p -Z aes256-ctr -f ${file}`,
    }
  }
  const encrypted = kdf !== 'none'
  // Read to its end once, so that a damaged file is known before the server is told of it.
  if (!encrypted) keyOfContainer(text)
  return { kind: 'private', file, text, encrypted, blob }
}

const ofPem = async (file: string, text: string, label: string): Promise<KeyFile | Unusable> => {
  const encrypted = label === 'ENCRYPTED' || /^Proc-Type: *4, *ENCRYPTED/mu.test(text)
  const blob = encrypted ? await publicHalfBeside(file) : publicBlobOf(createPrivateKey(text))
  if (!encrypted && !blob) return broken(file, new Error('SSH has no such kind of key'))
  return { kind: 'private', file, text, encrypted, blob }
}

const noPrivateKey = (file: string, text = ''): Unusable =>
  text.startsWith('PuTTY-User-Key-File-')
    ? {
        kind: 'unusable',
        why: `the key file ${file} is in PuTTY's format`,
        hint: `convert it: puttygen ${file} -O private-openssh -o NEW`,
      }
    : {
        kind: 'unusable',
        why: `${file} holds no private key`,
        hint: 'name the file without .pub, or load the key that belongs to it into your agent (ssh-add)',
      }

const ofHardware = (file: string): Unusable => ({
  kind: 'unusable',
  why: `the key in ${file} is a certificate or lives on a security key, which only the system's ssh can use`,
  hint: 'set `transport: openssh` for this host',
  forOpenssh: true,
})

const broken = (file: string, failure: unknown): Unusable => ({
  kind: 'unusable',
  why: `the key file ${file} cannot be read as a private key (${failure instanceof Error ? failure.message : String(failure)})`,
  hint: `is it whole? ssh-keygen -y -f ${file} tells; ssh-keygen -p -f ${file} writes OpenSSH's format`,
})
