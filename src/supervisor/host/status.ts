import type { DproxyError } from '../../base/errors.js'
import type { HostDefinition, HostState, HostStatus, Question, StreamStatus } from '../../control/messages.js'
import type { Proxy } from '../../proxy/proxy.js'
import { failureOf } from '../failure.js'
import type { Link } from '../link/link.js'

/** All that a host's status is made of. */
export interface HostParts {
  readonly definition: HostDefinition
  readonly state: HostState
  /** undefined: it does not drain. */
  readonly drainingSinceMs: number | undefined
  readonly link: Link
  readonly proxy: Proxy
  /** `user@host:port`, as far as it is known. */
  readonly ssh: string
  /** The engine's socket, as far as it is known while there is no link. */
  readonly remoteSocket: string
  readonly question: Question | null
  /** Why nobody gets in at the socket now. */
  readonly socketLost: { readonly error: DproxyError; readonly atMs: number } | undefined
}

export const statusOf = (parts: HostParts): HostStatus => {
  const { definition, state, drainingSinceMs, link, proxy, ssh, remoteSocket, question, socketLost } = parts
  const error = link.lastError
  const failure = error && failureOf(error.error)
  const last = socketLost ?? error
  return {
    name: definition.name,
    state,
    reason: link.state === 'up' || state === 'draining' ? null : (failure?.message ?? null),
    since: new Date(drainingSinceMs ?? link.sinceMs).toISOString(),
    socket: definition.socket,
    ssh,
    remoteSocket: link.remoteSocket ?? remoteSocket,
    remoteSocketFound: definition.remoteSocket === 'auto' && (link.remoteSocket ?? remoteSocket) !== 'auto',
    engine: link.engine,
    rttMs: link.rttMs === null ? null : Math.round(link.rttMs * 10) / 10,
    lanes: link.lanes,
    transport: link.transport,
    forwarding: link.forwarding,
    question,
    streams: { open: proxy.openStreams, total: proxy.totalStreams },
    bytes: proxy.bytes,
    turnedAway: proxy.turnedAway,
    reconnects: link.reconnects,
    lastError: last ? { ...failureOf(last.error), at: new Date(last.atMs).toISOString() } : null,
    stages: [...link.stages],
    stage: link.stage,
    nextTryMs: link.nextTryMs,
    tags: definition.tags,
    description: definition.description,
    protected: definition.protected,
  }
}

export const streamsOf = (host: string, proxy: Proxy): StreamStatus[] =>
  Array.from(proxy.streams(), ({ id, sinceMs, bytes }) => ({
    id: `${host}:${id}`,
    host,
    since: new Date(sinceMs).toISOString(),
    bytes,
  }))
