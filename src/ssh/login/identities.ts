import ssh2, { type ParsedKey } from 'ssh2'
import { printable } from '../../base/text.js'
import { within } from '../../base/timeout.js'
import type { Resolved } from '../target.js'
import { agentKeys, type AgentKey } from './agent.js'
import { readKeyFile, usable, type KeyFile, type Unusable } from './key-file.js'
import { kindOf } from './wire.js'

/** One key that may be offered at login. */
export interface Identity {
  /** For messages: a path, or an agent key's type and comment. Printable. */
  readonly label: string
  /** The public half as ssh2 wants it; undefined where only the passphrase can tell. */
  readonly publicKey: ParsedKey | undefined
  readonly signer: { readonly kind: 'agent'; readonly socket: string } | KeyFile
}

/** The keys to offer in order, and what was wrong with those that cannot be. */
export interface Identities {
  readonly usable: readonly Identity[]
  readonly problems: readonly Unusable[]
}

export type WhereKeysAre = Pick<
  Resolved,
  'identityFiles' | 'identitiesNamed' | 'identitiesOnly' | 'agent' | 'alias'
>

// An agent that does not answer must not hold the login up: the key files are still there.
const AGENT_ANSWERS_WITHIN_MS = 3000

/**
 * Gathers the keys to offer, in OpenSSH's order: the host's identity files (signed by the agent where it holds
 * the same key), then the agent's other keys unless `identitiesOnly`. Servers count every offer and hang up
 * after a few (sshd_config(5) MaxAuthTries), so the likely ones come first and none comes twice.
 */
export const gatherIdentities = async (
  where: WhereKeysAre,
  agentSocket: string | null,
  signal: AbortSignal,
): Promise<Identities> => {
  const socket = socketOf(where, agentSocket)
  const held = await heldBy(socket, signal)
  const others = new Map(held.keys.map((identity) => [idOf(identity), identity]))
  const chosen = new Map<string, Identity>()
  const problems: Unusable[] = []
  for (const file of where.identityFiles) {
    const found = await readKeyFile(file)
    if (found.kind === 'unusable') {
      if (where.identitiesNamed || !found.missing) problems.push(readable(found))
      continue
    }
    const own = found.kind === 'private' ? ofFile(found) : undefined
    const id = found.blob?.toString('base64') ?? file
    const identity = others.get(id) ?? own
    others.delete(id)
    if (identity && !chosen.has(id)) chosen.set(id, identity)
    if (!identity && !chosen.has(id)) problems.push(notInAgent(file))
  }
  if (!where.identitiesOnly) for (const [id, identity] of others) chosen.set(id, identity)
  // Whoever names the keys does not miss an agent.
  const missed = held.problem && (!where.identitiesOnly || chosen.size === 0 || held.problem.forOpenssh)
  return {
    usable: [...chosen.values()],
    problems: missed && held.problem ? [...problems, held.problem] : problems,
  }
}

/** The agent to ask, as the configuration and the caller's environment have it; null: none. */
export const socketOf = ({ agent }: WhereKeysAre, agentSocket: string | null): string | null =>
  agent === 'environment' ? agentSocket : agent === 'none' ? null : agent.socket

const idOf = ({ publicKey, label }: Identity): string => publicKey?.getPublicSSH().toString('base64') ?? label

const heldBy = async (
  socket: string | null,
  signal: AbortSignal,
): Promise<{ keys: Identity[]; problem?: Unusable }> => {
  if (socket === null) return { keys: [] }
  const name = `the ssh-agent at ${printable(socket)}`
  try {
    const listed = await listOf(socket, signal)
    const keys = listed.flatMap((key) => ofAgent(key, socket))
    if (listed.length > keys.length) return { keys, problem: onlyForOpenssh(name, listed) }
    return listed.length > 0 ? { keys } : { keys, problem: emptyOrLocked(name) }
  } catch (failure) {
    signal.throwIfAborted()
    const why = printable(failure instanceof Error ? failure.message : String(failure))
    return { keys: [], problem: gaveNone(name, why) }
  }
}

/** What an agent holds. @throws Error with a clause, after 3 s at the latest */
export const listOf = (socket: string, signal: AbortSignal): Promise<AgentKey[]> =>
  within(
    AGENT_ANSWERS_WITHIN_MS,
    signal,
    () => new Error('it did not answer within 3 s'),
    (limit) => agentKeys(socket, limit),
  )

const ofAgent = ({ blob, comment }: AgentKey, socket: string): Identity[] => {
  const publicKey = parsed(blob)
  if (!publicKey) return []
  const label = printable(`${publicKey.type} ${comment || '(no comment)'} from the agent`)
  return [{ label, publicKey, signer: { kind: 'agent', socket } }]
}

const ofFile = (file: KeyFile): Identity => ({
  label: printable(file.file),
  publicKey: file.blob && parsed(file.blob),
  signer: file,
})

/** A public half as ssh2 wants it; undefined for a kind it does not know. */
export const parsed = (blob: Buffer): ParsedKey | undefined => {
  const key = ssh2.utils.parseKey(blob)
  return key instanceof Error ? undefined : key
}

const readable = (problem: Unusable): Unusable => ({
  ...problem,
  why: printable(problem.why),
  hint: printable(problem.hint),
})

const notInAgent = (file: string): Unusable => ({
  kind: 'unusable',
  why: `${printable(file)} holds no private key`,
  hint: 'name the file without .pub, or load the key that belongs to it into your agent (ssh-add)',
})

const gaveNone = (name: string, why: string): Unusable => ({
  kind: 'unusable',
  why: `${name} gave no keys: ${why}`,
  hint: 'start an agent and ssh-add a key, or name a key file with `identityFile:`',
})

const emptyOrLocked = (name: string): Unusable => ({
  kind: 'unusable',
  why: `${name} holds no keys, or is locked`,
  hint: 'load a key: ssh-add; a locked agent opens with: ssh-add -X',
})

const onlyForOpenssh = (name: string, listed: readonly AgentKey[]): Unusable => {
  const kinds = listed.filter(({ blob }) => !usable(blob)).map(({ blob }) => printable(kindOf(blob)))
  return {
    kind: 'unusable',
    why: `${name} holds ${[...new Set(kinds)].join(', ')}, which only the system's ssh can use`,
    hint: 'set `transport: openssh` for this host',
    forOpenssh: true,
  }
}
