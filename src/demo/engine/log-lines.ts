import type { LogKind } from './catalogue.js'
import { between, fraction, hexId, pick } from './noise.js'
import type { Container } from './world.js'

export interface LogLine {
  readonly atMs: number
  readonly stream: 'stdout' | 'stderr'
  readonly text: string
}

// As a log driver with rotation keeps them; what is older is gone.
const LINES_KEPT = 500

/**
 * The lines a container wrote between two moments, the last {@link LINES_KEPT} at most. A line depends on the
 * container and its time alone, so nothing is stored and every reader sees the same log.
 */
export const linesOf = (container: Container, fromMs: number, toMs: number): LogLine[] => {
  const { everyMs } = container.service.log
  const endMs = container.state === 'exited' ? (container.endedMs ?? 0) : Math.max(toMs, Date.now())
  const first = Math.max(
    Math.ceil(Math.max(fromMs, container.createdMs) / everyMs),
    Math.floor(endMs / everyMs) - LINES_KEPT + 1,
  )
  const last = Math.floor(Math.min(toMs, endMs) / everyMs)
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => lineAt(container, first + index))
}

/** When a running container writes its first line after `atMs`. */
export const nextLineMs = ({ service: { log } }: Container, atMs: number): number =>
  (Math.floor(atMs / log.everyMs) + 1) * log.everyMs

const lineAt = ({ id, service }: Container, index: number): LogLine => {
  const atMs = index * service.log.everyMs
  const stderr = fraction(id, index, 'stream') < 0.04
  return {
    atMs,
    stream: stderr ? 'stderr' : 'stdout',
    text: stderr ? TROUBLE[service.log.kind] : WRITERS[service.log.kind](`${id}/${index}`, atMs),
  }
}

type Writer = (seed: string, atMs: number) => string

const PATHS = ['/', '/cart', '/products', '/products/42', '/assets/app.js', '/api/orders', '/login'] as const
const JOBS = ['send-receipt', 'resize-picture', 'sync-stock', 'close-order'] as const

const WRITERS: Record<LogKind, Writer> = {
  access: (seed, atMs) =>
    `172.18.0.${between(2, 9, seed)} - - [${new Date(atMs).toISOString()}] ` +
    `"GET ${pick(PATHS, seed, 'path')} HTTP/1.1" ${pick([200, 200, 200, 200, 304, 404], seed, 'status')} ` +
    `${between(180, 24_000, seed, 'size')}`,
  service: (seed, atMs) =>
    JSON.stringify({
      level: 'info',
      time: atMs,
      request: hexId(seed).slice(0, 8),
      path: pick(PATHS, seed, 'path'),
      ms: between(2, 180, seed, 'ms'),
    }),
  postgres: (seed, atMs) =>
    `${new Date(atMs).toISOString()} [${between(40, 90, seed)}] LOG:  checkpoint complete: wrote ` +
    `${between(3, 900, seed, 'buffers')} buffers; sync=0.0${between(10, 99, seed, 'sync')} s`,
  redis: (seed, atMs) =>
    `1:M ${new Date(atMs).toISOString()} * ${between(10, 400, seed)} changes in 60 seconds. Saving...`,
  jobs: (seed) =>
    `${pick(JOBS, seed, 'job')} ${hexId(seed).slice(0, 8)} done in ${between(20, 1900, seed, 'ms')} ms`,
  migration: (seed) => `applied ${hexId(seed).slice(0, 6)}: ok`,
}

const TROUBLE: Record<LogKind, string> = {
  access: '[warn] 29#29: an upstream response is buffered to a temporary file',
  service: '{"level":"warn","message":"slow query","table":"orders"}',
  postgres: 'WARNING:  there is no transaction in progress',
  redis: '# Background saving took longer than expected',
  jobs: 'retrying sync-stock: timeout',
  migration: 'NOTICE: relation "orders" already exists, skipping',
}
