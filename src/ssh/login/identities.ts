import { readFile, stat } from 'node:fs/promises'
import ssh2, { type ParsedKey } from 'ssh2'
import { errnoOf } from '../base/errors.js'
import { ownUid } from '../base/paths.js'
import { within } from '../base/timeout.js'
import type { Resolved } from './target.js'

/** One key that may be offered at login. */
export interface Identity {
  /** For messages: a path, or an agent key's type and comment. */
  readonly label: string
  readonly key: ParsedKey
  /** The agent that signs for it; without one, `key` holds the private part. */
  readonly agent?: ssh2.OpenSSHAgent
}

/** The keys to offer in order, and what was wrong with those that cannot be. */
export interface Identities {
  readonly usable: readonly Identity[]
  /** One sentence each, with what to do. */
  readonly problems: readonly { readonly why: string; readonly hint: string }[]
}

// An agent that does not answer must not hold the login up: the key files are still there.
const AGENT_ANSWERS_WITHIN_MS = 3000
const LONGEST_KEY_FILE = 1024 * 1024

/**
 * Gathers the keys to offer, in OpenSSH's order: the host's identity files (signed by the agent where it holds
 * the same key), then the agent's other keys unless `identitiesOnly`. Servers count every offer and hang up
 * after a few (sshd_config(5) MaxAuthTries), so the likely ones come first and none comes twice.
 */
export const gatherIdentities = async (
  { identityFiles, identitiesNamed, identitiesOnly }: Resolved,
  agentSocket: string | null,
  signal: AbortSignal,
): Promise<Identities> => {
  const held = agentSocket === null ? { keys: [] } : await agentKeys(agentSocket, signal)
  const problems = held.problem ? [held.problem] : []
  const usable: Identity[] = []
  const others = new Map(held.keys.map((identity) => [blobOf(identity.key), identity]))
  for (const file of identityFiles) {
    const blob = await publicPart(file)
    const inAgent = blob === undefined ? undefined : others.get(blob)
    if (inAgent && blob !== undefined) {
      others.delete(blob)
      usable.push(inAgent)
      continue
    }
    const found = await fromFile(file)
    if ('key' in found) {
      const own = blobOf(found.key)
      const signer = others.get(own)
      others.delete(own)
      usable.push(signer ?? found)
    } else if (identitiesNamed || !found.missing) problems.push(found)
  }
  if (!identitiesOnly) usable.push(...others.values())
  return { usable, problems }
}

/** The wire-format public key, as a map key. */
const blobOf = (key: ParsedKey): string => key.getPublicSSH().toString('base64')

const agentKeys = async (
  socket: string,
  signal: AbortSignal,
): Promise<{ keys: Identity[]; problem?: { why: string; hint: string } }> => {
  const agent = new ssh2.OpenSSHAgent(socket)
  try {
    const listed = await within(
      AGENT_ANSWERS_WITHIN_MS,
      signal,
      () => new Error('it did not answer'),
      () => identitiesOf(agent),
    )
    return {
      keys: listed.map((key) => ({
        label: `${key.type} ${key.comment || '(no comment)'} from the agent`,
        key,
        agent,
      })),
    }
  } catch (failure) {
    signal.throwIfAborted()
    const why = failure instanceof Error ? failure.message : String(failure)
    return {
      keys: [],
      problem: {
        why: `the ssh-agent at ${socket} gave no keys: ${why}`,
        hint: 'start an agent, or name an identityFile',
      },
    }
  }
}

const identitiesOf = (agent: ssh2.OpenSSHAgent): Promise<ParsedKey[]> =>
  new Promise((resolve, reject) => {
    agent.getIdentities((failure, keys) => {
      if (failure) return reject(failure)
      // What ssh2 cannot parse (certificates, sk-* keys) it could not sign with either.
      const parsed = (keys ?? []).map((key) => ssh2.utils.parseKey(key as unknown as Buffer))
      return resolve(parsed.flat().filter((key): key is ParsedKey => !(key instanceof Error)))
    })
  })

/**
 * The public half of an identity, base64: beside the private key file, or the file itself, as ssh_config(5)
 * allows for keys that only an agent holds. It spares the passphrase when the agent has the key.
 */
const publicPart = async (file: string): Promise<string | undefined> => {
  for (const candidate of [`${file}.pub`, file]) {
    const text = await readFile(candidate).catch(() => undefined)
    const parsed = text && [ssh2.utils.parseKey(text)].flat()[0]
    if (parsed && !(parsed instanceof Error) && !parsed.isPrivateKey()) return blobOf(parsed)
  }
  return undefined
}

interface Unusable {
  readonly why: string
  readonly hint: string
  readonly missing: boolean
}

const fromFile = async (file: string): Promise<Identity | Unusable> => {
  try {
    const found = await stat(file)
    // A device or a pipe would never end; no key is that long.
    if (!(found.isFile() || found.isDirectory()) || found.size > LONGEST_KEY_FILE) return noPrivateKey(file)
    const parsed = [ssh2.utils.parseKey(await readFile(file))].flat()[0]
    if (parsed && !(parsed instanceof Error) && !parsed.isPrivateKey()) return noPrivateKey(file)
    // OpenSSH's own rule (authfile.c): a key that others can read is treated as no key.
    if (found.uid === ownUid() && (found.mode & 0o077) !== 0) {
      const octal = (found.mode & 0o777).toString(8)
      return {
        why: `the key file ${file} is open to others (mode ${octal})`,
        hint: `chmod 600 ${file}`,
        missing: false,
      }
    }
    if (parsed === undefined) return noPrivateKey(file)
    return parsed instanceof Error ? notParsed(file, parsed) : { label: file, key: parsed }
  } catch (failure) {
    const errno = errnoOf(failure)
    if (errno === 'ENOENT' || errno === 'ENOTDIR') {
      return {
        why: `the key file ${file} does not exist`,
        hint: 'correct the path, or make a key: ssh-keygen -t ed25519',
        missing: true,
      }
    }
    return {
      why: `cannot read the key file ${file}: ${errno ?? String(failure)}`,
      hint: 'make it readable for you alone: chmod 600',
      missing: false,
    }
  }
}

const noPrivateKey = (file: string): Unusable => ({
  why: `${file} holds no private key`,
  hint: 'name the file without .pub, or load the key that belongs to it into your agent (ssh-add)',
  missing: false,
})

const notParsed = (file: string, { message }: Error): Unusable =>
  /encrypted|passphrase/iu.test(message)
    ? {
        why: `the key file ${file} is encrypted`,
        hint: `load it into your agent: ssh-add ${file}`,
        missing: false,
      }
    : {
        why: `the key file ${file} is not a private key that can be read (${message})`,
        hint: 'convert it: ssh-keygen -p -f FILE writes the OpenSSH format',
        missing: false,
      }
