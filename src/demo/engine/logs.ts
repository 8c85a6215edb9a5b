import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { linesOf, nextLineMs, type LogLine } from './log-lines.js'
import { EngineError } from './engine-error.js'
import { isSet, sendParts, sendWhole, timeIn, untilClientEnds, type Ask } from './respond.js'
import { findContainer, type Container } from './world.js'

const MULTIPLEXED = 'application/vnd.docker.multiplexed-stream'

/**
 * `GET /containers/{id}/logs`. Without `follow` the answer carries its own sha256 (RFC 9530), so that a
 * reader behind any number of proxies can prove that no byte was lost or changed.
 */
export const logs = async (ask: Ask): Promise<void> => {
  const container = findContainer(ask.world, ask.params.id)
  const wanted = wantedIn(ask.query)
  const nowMs = Date.now()
  const backlog = frames(
    newest(linesOf(container, wanted.sinceMs, Math.min(nowMs, wanted.untilMs)), wanted),
    wanted,
  )
  if (isSet(ask.query, 'follow')) {
    return sendParts(ask, MULTIPLEXED, follow(container, backlog, nowMs, wanted, untilClientEnds(ask)))
  }
  ask.response.setHeader('Repr-Digest', `sha-256=:${createHash('sha256').update(backlog).digest('base64')}:`)
  sendWhole(ask.response, MULTIPLEXED, backlog)
}

interface Wanted {
  readonly streams: ReadonlySet<string>
  readonly timestamps: boolean
  readonly sinceMs: number
  readonly untilMs: number
  readonly tail: number
}

const wantedIn = (query: URLSearchParams): Wanted => {
  const streams = new Set(['stdout', 'stderr'].filter((stream) => isSet(query, stream)))
  if (streams.size === 0) {
    throw new EngineError(400, 'Bad parameters: you must choose at least one stream')
  }
  const tail = query.get('tail') ?? 'all'
  return {
    streams,
    timestamps: isSet(query, 'timestamps'),
    sinceMs: timeIn(query, 'since') ?? 0,
    untilMs: timeIn(query, 'until') ?? Number.POSITIVE_INFINITY,
    tail: /^\d+$/u.test(tail) ? Number(tail) : Number.POSITIVE_INFINITY,
  }
}

const newest = (lines: LogLine[], { streams, tail }: Wanted): LogLine[] => {
  const chosen = lines.filter(({ stream }) => streams.has(stream))
  return chosen.slice(Math.max(0, chosen.length - tail))
}

// oxlint-disable-next-line eslint/max-params -- one private caller
async function* follow(
  container: Container,
  backlog: Buffer,
  fromMs: number,
  wanted: Wanted,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  yield backlog
  let seenMs = fromMs
  while (container.state !== 'exited') {
    const nextMs = nextLineMs(container, seenMs)
    if (nextMs > wanted.untilMs) return
    await sleep(Math.max(0, nextMs - Date.now()), undefined, { signal }).catch(() => undefined)
    if (signal.aborted) return
    // A slow reader may return long after the line it was waiting for.
    const nowMs = Math.max(nextMs, Date.now())
    const lines = linesOf(container, seenMs + 1, Math.min(nowMs, wanted.untilMs))
    const fresh = lines.filter(({ stream }) => wanted.streams.has(stream))
    if (fresh.length > 0 && container.state !== 'paused') yield frames(fresh, wanted)
    seenMs = nowMs
  }
}

/** Lines as Docker frames the output of a container without a terminal: stream, 0, 0, 0, length, payload. */
const frames = (lines: readonly LogLine[], { timestamps }: Wanted): Buffer =>
  Buffer.concat(
    lines.flatMap(({ atMs, stream, text }) => {
      const payload = Buffer.from(`${timestamps ? `${new Date(atMs).toISOString()} ` : ''}${text}\n`)
      const header = Buffer.alloc(8)
      header.writeUInt8(stream === 'stdout' ? 1 : 2, 0)
      header.writeUInt32BE(payload.length, 4)
      return [header, payload]
    }),
  )
