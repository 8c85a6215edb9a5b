import type { Duplex } from 'node:stream'
import { formatDuration } from '../../base/duration.js'
import { asDproxyError, DproxyError } from '../../base/errors.js'
import { within } from '../../base/timeout.js'
import { NoEngineSocket, type Found } from '../../ssh/engine/locate.js'
import type { LinkLane } from '../link/link-lane.js'
import type { Examination } from './examination.js'
import type { Trouble } from './report.js'

/** A connection that may tell how it found the engine's socket; null: it was told. */
export type ExaminedLane = LinkLane & { readonly found?: Found | null }

/**
 * A stream to the remote socket; undefined when there is none. sshd does not say why one could not be opened: by
 * the look at its socket we know which stage it was.
 */
export const openStream = async (
  lane: ExaminedLane,
  exam: Examination,
  signal: AbortSignal,
): Promise<Duplex | undefined> => {
  const startedMs = performance.now()
  try {
    const late = () => silent(`no stream to ${socketOf(lane)} was opened`, lane.connectTimeoutMs)
    const stream = await within(lane.connectTimeoutMs, signal, late, (limited) => lane.openStream(limited))
    const way = exam.begin('streamlocal', startedMs)
    const { method = 'streamlocal', why = null } = lane.forwarding ?? {}
    if (method !== 'streamlocal') way.notes.warn(goesAround(method, why))
    way.pass()
    passSocket(lane, exam)
    return stream
  } catch (failure) {
    signal.throwIfAborted()
    explain(asDproxyError(failure), lane, exam, startedMs)
    return undefined
  }
}

const socketOf = ({ remoteSocket }: LinkLane): string => remoteSocket ?? "the engine's socket"

const explain = (failure: DproxyError, lane: ExaminedLane, exam: Examination, startedMs: number): void => {
  const { code } = failure
  const isItsSocket = code === 'ENGINE_SOCKET_MISSING' || code === 'ENGINE_SOCKET_DENIED'
  if (!isItsSocket && code !== 'ENGINE_DOWN') {
    exam.begin('streamlocal', startedMs).fail(failure)
    return exam.skip(['remote socket', ...BEHIND])
  }
  exam.skip(['streamlocal'], 'it would show only with a socket that answers')
  if (isItsSocket) {
    const socket = exam.begin('remote socket', startedMs)
    if (failure instanceof NoEngineSocket) for (const text of failure.looked) socket.notes.fact(text)
    socket.fail(failure)
    return exam.skip(BEHIND)
  }
  passSocket(lane, exam, startedMs)
  exam.begin('engine').fail(failure)
  return exam.skip(BEHIND.slice(1))
}

const BEHIND = ['engine', 'version', 'clock'] as const

const passSocket = (lane: ExaminedLane, exam: Examination, startedMs?: number): void => {
  const socket = exam.begin('remote socket', startedMs)
  const { found } = lane
  if (found) {
    const whose = found.whose === null ? 'the usual place; nothing there could be looked at' : found.whose
    socket.notes.fact(`found at ${found.path} (${whose})`)
    for (const text of found.notes) socket.notes.fact(text)
  } else {
    socket.notes.fact(`${socketOf(lane)} is there and can be used`)
  }
  socket.pass()
}

const goesAround = (method: string, why: string | null): Trouble => ({
  code: 'FORWARDING_FORBIDDEN',
  message: `streams go through ${method} there${why === null ? '' : `: ${why}`}`,
  hint: 'it works, with one process there for each stream; to do without, let sshd_config there say AllowStreamLocalForwarding yes',
})

/** Nothing came back in time. */
export const silent = (what: string, limitMs: number): DproxyError =>
  new DproxyError('ENGINE_TIMEOUT', `${what} within ${formatDuration(limitMs)}`, {
    stage: 'engine',
    hint: 'it may be overloaded or stuck: look at it there with `docker version`',
  })
