import type { ControlClient } from '../control/client.js'
import { SCHEMA_VERSION, type HostStatus, type Status } from '../control/messages.js'
import { DproxyError } from '../base/errors.js'
import { printable } from '../base/text.js'
import { loadRegistry, type Registry } from '../registry/load.js'
import type { Host } from '../registry/host.js'
import { placeText } from '../base/ssh-url.js'
import { listSome } from '../registry/list-some.js'
import { nearest } from '../registry/nearest.js'
import type { GlobalWords, Io } from './io.js'

/** The registry that this command line sees. */
export const registryOf = ({ config }: Pick<GlobalWords, 'config'>, { env, cwd }: Io): Promise<Registry> =>
  loadRegistry({ env, cwd, configFile: config })

/** What the supervisor says, or that none runs. */
export const statusNow = async (client: ControlClient): Promise<Status> => {
  try {
    return await client.status()
  } catch (failure) {
    if (failure instanceof DproxyError && failure.code === 'SUPERVISOR_DOWN') return nobody()
    throw failure
  }
}

/** Tells the user when a supervisor of another version runs: what this version mended is not mended there. */
export const noteVersion = ({ supervisor }: Status, { quiet, json }: GlobalWords, io: Io): void => {
  if (!supervisor || supervisor.version === io.version || quiet || json) return
  io.err.write(
    `note: the running supervisor is dproxy ${printable(supervisor.version)}, this command ${io.version}; to renew it: dproxy restart --supervisor\n`,
  )
}

/** The status while no supervisor runs. */
export const nobody = (): Status => ({
  schemaVersion: SCHEMA_VERSION,
  atMs: Date.now(),
  supervisor: null,
  hosts: [],
})

/** The supervisor's hosts and, as stopped, those of the registry it does not run; the registry's order first. */
export const withStopped = (status: Status, { hosts }: Pick<Registry, 'hosts'>): Status => {
  const running = new Map(status.hosts.map((host) => [keyOf(host.name), host]))
  const known = hosts.map((host) => running.get(keyOf(host.name)) ?? stopped(host))
  const names = new Set(hosts.map(({ name }) => keyOf(name)))
  return { ...status, hosts: [...known, ...status.hosts.filter(({ name }) => !names.has(keyOf(name)))] }
}

/**
 * The hosts of a status that the words name: names and `@tag`; all of them without words.
 * @throws DproxyError HOST_UNKNOWN
 */
export const pick = (status: Status, words: readonly string[]): Status => {
  if (words.length === 0) return status
  const picked = words.flatMap((word) => meant(status.hosts, word))
  return { ...status, hosts: status.hosts.filter((host) => picked.includes(host)) }
}

const meant = (hosts: readonly HostStatus[], word: string): HostStatus[] => {
  const tag = word.startsWith('@') ? keyOf(word.slice(1)) : undefined
  const found = hosts.filter((host) =>
    tag === undefined ? keyOf(host.name) === keyOf(word) : host.tags.some((own) => keyOf(own) === tag),
  )
  if (found.length > 0) return found
  const names =
    tag === undefined
      ? hosts.map(({ name }) => name)
      : hosts.flatMap(({ tags }) => tags.map((own) => `@${own}`))
  const near = nearest(word, names)
  const what =
    tag === undefined ? `no host is named "${printable(word)}"` : `no host has the tag "${printable(word)}"`
  throw new DproxyError('HOST_UNKNOWN', near === undefined ? what : `${what}; did you mean "${near}"?`, {
    hint:
      names.length > 0 ? `there are ${listSome([...new Set(names)])}` : 'no host is configured or running',
  })
}

const keyOf = (name: string): string => name.toLowerCase()

const stopped = (host: Host): HostStatus => ({
  name: host.name,
  state: 'stopped',
  reason: null,
  since: null,
  socket: host.socket,
  ssh: placeText(host),
  remoteSocket: host.remoteSocket,
  remoteSocketFound: false,
  engine: null,
  rttMs: null,
  lanes: 0,
  transport: null,
  forwarding: null,
  question: null,
  streams: { open: 0, total: 0 },
  bytes: { up: 0, down: 0 },
  turnedAway: 0,
  reconnects: 0,
  lastError: null,
  stages: [],
  stage: null,
  nextTryMs: null,
  tags: host.tags,
  description: host.description,
  protected: host.protected,
})
