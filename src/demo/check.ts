import { DproxyError } from '../base/errors.js'
import { within } from '../base/timeout.js'
import * as checks from './checks.js'

export interface CheckRow {
  readonly host: string
  readonly check: string
  readonly result: 'passed' | 'failed' | 'skipped'
  /** What was seen, or why it is not what it should be. */
  readonly detail: string
  readonly ms: number
}

const LIMIT_MS = 10_000

/**
 * Asks the engine behind each socket what Docker clients ask, and compares bytes where it can know them. Every
 * check has 10 s; one that fails stops no other. Hosts side by side, the checks of one host in order.
 */
export const checkHosts = async (
  hosts: readonly { name: string; socket: string }[],
  signal: AbortSignal = new AbortController().signal,
): Promise<CheckRow[]> => {
  const rows = await Promise.all(hosts.map(({ name, socket }) => checkHost(name, socket, signal)))
  return rows.flat()
}

const CHECKS: readonly [string, checks.Check][] = [
  ['ping', checks.ping],
  ['version', checks.version],
  ['containers', checks.containers],
  ['images', checks.images],
  ['logs', checks.logs],
  ['half-close', checks.halfClose],
  ['download', checks.download],
  ['upload', checks.upload],
]

const checkHost = async (host: string, socket: string, outer: AbortSignal): Promise<CheckRow[]> => {
  const rows: CheckRow[] = []
  for (const [check, run] of CHECKS) {
    const begun = performance.now()
    const late = () => new DproxyError('ENGINE_TIMEOUT', `no answer within ${LIMIT_MS / 1000} s`)
    const outcome = await within(LIMIT_MS, outer, late, (signal) => run(socket, signal)).then(
      (detail) => ({ result: 'passed' as const, detail }),
      (failure: unknown) => ({
        result: failure instanceof checks.Skipped ? ('skipped' as const) : ('failed' as const),
        detail: failure instanceof Error ? failure.message : String(failure),
      }),
    )
    rows.push({ host, check, ...outcome, ms: Math.round(performance.now() - begun) })
  }
  return rows
}
