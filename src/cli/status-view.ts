import prettyBytes from 'pretty-bytes'
import stringWidth from 'string-width'
import type { HostStatus, Status } from '../control/messages.js'
import { formatDuration } from '../base/duration.js'
import { count } from '../base/text.js'
import { cell, paintState, table, type Paint } from './paint.js'

// What a narrow terminal can do without, in the order it goes.
const DISPENSABLE = ['RTT', '↑ TOTAL', '↓ TOTAL', 'SSH', 'STREAMS', 'DOCKER', 'SINCE']

/**
 * The hosts as a table, and under it why each one that should be up is not. Columns are left out until it fits
 * into `width`.
 */
export const statusTable = (
  { hosts, atMs }: Status,
  paint: Paint,
  width = Number.POSITIVE_INFINITY,
): string => {
  const head = ['HOST', 'STATE', 'SOCKET', 'SSH', 'DOCKER', 'RTT', 'STREAMS', '↑ TOTAL', '↓ TOTAL', 'SINCE']
  const rows = hosts.map((host) => row(host, atMs, paint))
  const whole = [head.map((title) => paint.dim(title)), ...rows]
  const reasons = hosts.map((host) => reasonLines(host, paint) + remarks(host, paint)).join('')
  let kept = [...head]
  for (const title of ['', ...DISPENSABLE]) {
    kept = kept.filter((each) => each !== title)
    const shown = table(whole.map((cells) => cells.filter((_, column) => kept.includes(head[column] ?? ''))))
    if (shown.split('\n').every((line) => stringWidth(line) <= width)) return shown + reasons
  }
  return table(whole.map((cells) => cells.slice(0, 3))) + reasons
}

const row = (host: HostStatus, atMs: number, paint: Paint): string[] => [
  paint.bold(cell(host.name)),
  paintState(host.state, paint),
  cell(host.socket),
  cell(host.ssh),
  cell(host.engine?.version),
  host.rttMs === null ? '–' : `${host.rttMs} ms`,
  `${host.streams.open} / ${host.streams.total}`,
  prettyBytes(host.bytes.up),
  prettyBytes(host.bytes.down),
  since(host, atMs),
]

const since = ({ state, since: at, nextTryMs, stage }: HostStatus, atMs: number): string => {
  if (state === 'retrying' && nextTryMs !== null) return `next in ${countdown(nextTryMs)}`
  if (state === 'connecting' && stage) return stage
  return at === null || state === 'stopped' ? '–' : formatDuration(atMs - Date.parse(at))
}

// Whole seconds, rounded up, as people count down.
const countdown = (ms: number): string => formatDuration(Math.max(1, Math.ceil(ms / 1000)) * 1000)

// Where Docker's own engine listens (dockerd(8)); `auto`: it has not been looked for.
const USUAL_SOCKET = '/var/run/docker.sock'

/** What else is worth knowing: what is not as it usually is, and what somebody waits for. */
const remarks = (
  { name, state, transport, forwarding, remoteSocket, remoteSocketFound, turnedAway, question }: HostStatus,
  paint: Paint,
): string => {
  const lines: string[] = []
  if (transport?.kind === 'openssh') {
    const why = transport.why === null ? 'as configured' : transport.why
    lines.push(`goes through the system's ssh: ${why}`)
  }
  if (forwarding && forwarding.method !== 'streamlocal') {
    lines.push(
      `streams go through ${forwarding.method} there: ${forwarding.why ?? 'sshd does not forward them'}`,
    )
  }
  if (state === 'up' && remoteSocketFound && remoteSocket !== USUAL_SOCKET)
    lines.push(`its engine's socket there is ${remoteSocket}`)
  if (turnedAway > 0) {
    lines.push(`${count(turnedAway, 'client')} turned away for want of a file descriptor (see: ulimit -n)`)
  }
  if (question) lines.push(`waits for an answer at the terminal of its dproxy up (${question.kind})`)
  return lines.map((line) => `  ${paint.dim(cell(name))}: ${cell(line)}\n`).join('')
}

const reasonLines = ({ name, state, lastError }: HostStatus, paint: Paint): string => {
  // On a host that is up it is what its last client met: an engine that has gone, say.
  if (!lastError || state === 'draining') return ''
  const stage = lastError.stage ? `${lastError.stage}: ` : ''
  const hint = lastError.hint ? `\n    ${paint.dim('next:')} ${cell(lastError.hint)}` : ''
  return `  ${paint.red(cell(name))}: ${stage}${cell(lastError.message)}${hint}\n`
}
