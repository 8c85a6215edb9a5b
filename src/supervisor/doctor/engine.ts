import { request, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { formatDuration } from '../../base/duration.js'
import { DproxyError } from '../../base/errors.js'
import { printable } from '../../base/text.js'
import { within } from '../../base/timeout.js'
import { askVersion } from '../link/engine.js'
import type { LinkLane } from '../link/link-lane.js'
import type { Examination } from './examination.js'
import type { DoctorStage, Notes } from './report.js'
import { openStream, silent, type ExaminedLane } from './stream.js'

/** What is at the other end of a lane: may a stream be opened to the engine, and does it answer. */
export const lookAtEngine = async (
  lane: ExaminedLane,
  exam: Examination,
  signal: AbortSignal,
): Promise<void> => {
  const stream = await openStream(lane, exam, signal)
  if (!stream) return
  const remoteSocket = lane.remoteSocket ?? 'its socket'
  try {
    const answer = await exam.check('engine', (notes) => ping(stream, remoteSocket, lane, notes, signal))
    if (!answer) return exam.skip(['version', 'clock'])
    await exam.check('version', async (notes) => {
      const open = (limited: AbortSignal) => lane.openStream(limited)
      const { version, apiVersion } = await askVersion(
        open,
        () => remoteSocket,
        lane.connectTimeoutMs,
        signal,
      )
      notes.fact(`Docker ${version}, API ${apiVersion}`)
      if (isOlder(apiVersion, OLDEST_API)) notes.warn(tooOld(apiVersion))
    })
    await exam.check('clock', async (notes) => compareClocks(answer, notes))
  } finally {
    stream.destroy()
  }
}

export const ENGINE_STAGES = [
  'streamlocal',
  'remote socket',
  'engine',
  'version',
  'clock',
] as const satisfies readonly DoctorStage[]

interface Answer {
  /** The engine's clock, as its Date header (RFC 9110 section 6.6.1) has it; null without one. */
  readonly date: string | null
  /** Our clock in the middle between question and answer, milliseconds. */
  readonly atMs: number
}

const ping = (
  stream: Duplex,
  remoteSocket: string,
  { connectTimeoutMs }: LinkLane,
  notes: Notes,
  signal: AbortSignal,
): Promise<Answer> => {
  const late = () => silent(`the Docker engine behind ${remoteSocket} did not answer`, connectTimeoutMs)
  return within(connectTimeoutMs, signal, late, async (limited) => {
    const [askedMs, startedMs] = [Date.now(), performance.now()]
    const { statusCode, headers } = await get(stream, remoteSocket, limited)
    const tookMs = performance.now() - startedMs
    if (statusCode !== 200) throw noEngine(remoteSocket, `HTTP ${statusCode}`)
    notes.fact(`answers in ${formatDuration(tookMs)}`)
    return { date: headers.date ?? null, atMs: askedMs + tookMs / 2 }
  })
}

const get = (stream: Duplex, remoteSocket: string, signal: AbortSignal): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const headers = { Host: 'docker', Connection: 'close' }
    const asked = request({ createConnection: () => stream, path: '/_ping', headers, signal }, (answer) => {
      answer.on('error', () => undefined).resume()
      resolve(answer)
    })
    asked.once('error', (failure) => {
      reject(signal.aborted ? signal.reason : noEngine(remoteSocket, failure.message))
    })
    asked.end()
  })

const noEngine = (remoteSocket: string, why: string): DproxyError =>
  new DproxyError(
    'ENGINE_UNREACHABLE',
    `what is behind ${remoteSocket} does not answer as a Docker engine: ${printable(why)}`,
    {
      stage: 'engine',
      hint: "is `remoteSocket` the engine's socket, and is the engine running?",
    },
  )

// What Docker's command line asks for from version 29 on; Docker 25 was the first to have it.
const OLDEST_API = '1.44'

const isOlder = (version: string, than: string): boolean => {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [oldMajor = 0, oldMinor = 0] = than.split('.').map(Number)
  return major < oldMajor || (major === oldMajor && minor < oldMinor)
}

const tooOld = (apiVersion: string) => ({
  code: 'ENGINE_OLD',
  message: `the engine speaks API ${apiVersion}; Docker clients from version 29 on want ${OLDEST_API} (Docker 25) at least`,
  hint: 'renew Docker there, or use an older client here',
})

const MOST_CLOCK_DIFFERENCE_MS = 5000

const compareClocks = ({ date, atMs }: Answer, notes: Notes): void => {
  const thereMs = Date.parse(date ?? '')
  if (Number.isNaN(thereMs)) return notes.fact('the engine does not say what time it is')
  // The header counts whole seconds; on the average half of one has gone by.
  const aheadMs = thereMs + 500 - atMs
  const apart = formatDuration(Math.abs(aheadMs))
  if (Math.abs(aheadMs) <= MOST_CLOCK_DIFFERENCE_MS) return notes.fact(`at most ${apart} apart from ours`)
  return notes.warn({
    code: 'CLOCK_OFF',
    message: `the clock there is ${apart} ${aheadMs > 0 ? 'ahead of' : 'behind'} ours: certificates and image times will not fit`,
    hint: 'set both by NTP: timedatectl set-ntp true',
  })
}
