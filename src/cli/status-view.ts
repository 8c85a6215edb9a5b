import prettyBytes from 'pretty-bytes'
import type { HostStatus, Status } from '../control/messages.js'
import { formatDuration } from '../base/duration.js'
import { cell, paintState, table, type Paint } from './paint.js'

/** The hosts as a table, and under it why each one that should be up is not. */
export const statusTable = ({ hosts, atMs }: Status, paint: Paint): string => {
  const head = ['HOST', 'STATE', 'SOCKET', 'SSH', 'DOCKER', 'RTT', 'STREAMS', '↑ TOTAL', '↓ TOTAL', 'SINCE']
  const rows = hosts.map((host) => row(host, atMs, paint))
  return (
    table([head.map((title) => paint.dim(title)), ...rows]) +
    hosts.map((host) => reasonLines(host, paint)).join('')
  )
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
  if (state === 'retrying' && nextTryMs !== null) return `next in ${formatDuration(nextTryMs)}`
  if (state === 'connecting' && stage) return stage
  return at === null || state === 'stopped' ? '–' : formatDuration(atMs - Date.parse(at))
}

const reasonLines = ({ name, state, lastError }: HostStatus, paint: Paint): string => {
  if (!lastError || state === 'up' || state === 'draining') return ''
  const stage = lastError.stage ? `${lastError.stage}: ` : ''
  const hint = lastError.hint ? `\n    ${paint.dim('next:')} ${cell(lastError.hint)}` : ''
  return `  ${paint.red(cell(name))}: ${stage}${cell(lastError.message)}${hint}\n`
}
