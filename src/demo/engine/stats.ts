import { setTimeout as sleep } from 'node:timers/promises'
import { fraction } from './noise.js'
import { isSet, sendJson, sendParts, untilClientEnds, type Ask } from './respond.js'
import { findContainer, type Container } from './world.js'

/** What every demo host pretends to have. */
export const PROCESSORS = 4
export const MEMORY = 8 * 1024 ** 3

const NEVER = '0001-01-01T00:00:00Z'

/** `GET /containers/{id}/stats`: one sample a second, or one alone with `stream=0`. */
export const stats = async (ask: Ask): Promise<void> => {
  const container = findContainer(ask.world, ask.params.id)
  // Without a word Docker streams.
  const streams = !ask.query.has('stream') || isSet(ask.query, 'stream')
  if (!streams) return sendJson(ask, sample(container, Date.now()))
  return sendParts(ask, 'application/json', everySecond(container, untilClientEnds(ask)))
}

async function* everySecond(container: Container, signal: AbortSignal): AsyncGenerator<string> {
  while (!signal.aborted) {
    yield `${JSON.stringify(sample(container, Date.now()))}\n`
    await sleep(1000, undefined, { signal }).catch(() => undefined)
  }
}

const sample = (container: Container, nowMs: number) => {
  const running = container.state === 'running'
  return {
    id: container.id,
    name: `/${container.name}`,
    read: running ? new Date(nowMs).toISOString() : NEVER,
    preread: running ? new Date(nowMs - 1000).toISOString() : NEVER,
    num_procs: 0,
    pids_stats: running ? { current: container.service.processes.length * 3, limit: 9000 } : {},
    cpu_stats: running ? processor(container, nowMs) : {},
    precpu_stats: running ? processor(container, nowMs - 1000) : {},
    memory_stats: running ? memory(container, nowMs) : {},
    blkio_stats: running ? disk(container, nowMs) : {},
    ...(running && { networks: { eth0: network(container, nowMs) } }),
  }
}

/** A rate that swings around 1 with the time: its integral from the start, in seconds; it never falls. */
const integral = ({ id, startedMs }: Container, nowMs: number, what: string): number => {
  const seconds = Math.max(0, nowMs - startedMs) / 1000
  const period = 20 + 60 * fraction(id, what)
  return seconds + ((0.7 * period) / (2 * Math.PI)) * (1 - Math.cos((2 * Math.PI * seconds) / period))
}

// Totals of nanoseconds, as the kernel counts them; clients divide two differences.
const processor = (container: Container, nowMs: number) => ({
  cpu_usage: {
    total_usage: Math.round(container.service.cpu * integral(container, nowMs, 'cpu') * 1e9),
    usage_in_kernelmode: 0,
    usage_in_usermode: 0,
  },
  system_cpu_usage: Math.round((nowMs - container.createdMs) * 1e6) * PROCESSORS,
  online_cpus: PROCESSORS,
  throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
})

const memory = ({ id, service }: Container, nowMs: number) => {
  const swing = 1 + 0.08 * Math.sin(nowMs / 30_000 + 6 * fraction(id))
  const inactive = Math.round(service.memory * 0.2)
  return {
    usage: Math.round(service.memory * swing) + inactive,
    limit: MEMORY,
    stats: { inactive_file: inactive, total_inactive_file: inactive },
  }
}

const network = (container: Container, nowMs: number) => {
  const received = Math.round(9000 * integral(container, nowMs, 'received'))
  const sent = Math.round(31_000 * integral(container, nowMs, 'sent'))
  return {
    rx_bytes: received,
    rx_packets: Math.round(received / 700),
    rx_errors: 0,
    rx_dropped: 0,
    tx_bytes: sent,
    tx_packets: Math.round(sent / 700),
    tx_errors: 0,
    tx_dropped: 0,
  }
}

const disk = (container: Container, nowMs: number) => ({
  io_service_bytes_recursive: ['read', 'write'].map((op) => ({
    major: 259,
    minor: 0,
    op,
    value: Math.round(2100 * integral(container, nowMs, op)),
  })),
})
