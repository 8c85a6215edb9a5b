import type { Duplex } from 'node:stream'
import { formatDuration } from '../../base/duration.js'
import { asDproxyError, DproxyError } from '../../base/errors.js'
import { within } from '../../base/timeout.js'
import type { LinkLane } from '../link-lane.js'
import type { Examination } from './examination.js'

/**
 * A stream to the remote socket; undefined when there is none. sshd does not say why one could not be opened: by
 * the look at its socket we know which stage it was.
 */
export const openStream = async (
  lane: LinkLane,
  exam: Examination,
  signal: AbortSignal,
): Promise<Duplex | undefined> => {
  const startedMs = performance.now()
  try {
    const late = () => silent(`no stream to ${socketOf(lane)} was opened`, lane.connectTimeoutMs)
    const stream = await within(lane.connectTimeoutMs, signal, late, (limited) => lane.openStream(limited))
    exam.begin('streamlocal', startedMs).pass()
    passSocket(socketOf(lane), exam)
    return stream
  } catch (failure) {
    signal.throwIfAborted()
    explain(asDproxyError(failure), socketOf(lane), exam, startedMs)
    return undefined
  }
}

const socketOf = ({ remoteSocket }: LinkLane): string => remoteSocket ?? "the engine's socket"

const explain = (failure: DproxyError, remoteSocket: string, exam: Examination, startedMs: number): void => {
  const { code } = failure
  const isItsSocket = code === 'ENGINE_SOCKET_MISSING' || code === 'ENGINE_SOCKET_DENIED'
  if (!isItsSocket && code !== 'ENGINE_DOWN') {
    exam.begin('streamlocal', startedMs).fail(failure)
    return exam.skip(['remote socket', ...BEHIND])
  }
  exam.skip(['streamlocal'], 'it would show only with a socket that answers')
  if (isItsSocket) {
    exam.begin('remote socket', startedMs).fail(failure)
    return exam.skip(BEHIND)
  }
  passSocket(remoteSocket, exam, startedMs)
  exam.begin('engine').fail(failure)
  return exam.skip(BEHIND.slice(1))
}

const BEHIND = ['engine', 'version', 'clock'] as const

const passSocket = (remoteSocket: string, exam: Examination, startedMs?: number): void => {
  const socket = exam.begin('remote socket', startedMs)
  socket.notes.fact(`${remoteSocket} is there and can be used`)
  socket.pass()
}

/** Nothing came back in time. */
export const silent = (what: string, limitMs: number): DproxyError =>
  new DproxyError('ENGINE_TIMEOUT', `${what} within ${formatDuration(limitMs)}`, {
    stage: 'engine',
    hint: 'it may be overloaded or stuck: look at it there with `docker version`',
  })
