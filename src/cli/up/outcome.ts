import type { ControlClient } from '../../control/client.js'
import type { HostState, HostStatus, UpReply } from '../../control/messages.js'
import { asDproxyError, DproxyError, isErrorCode } from '../../base/errors.js'

/** What became of one host that `up` asked for. */
export interface Outcome {
  readonly action: UpReply['action'] | 'refused'
  /** When it was asked for: what was seen before says nothing. */
  readonly askedAtMs: number
  readonly state?: HostState
  /** Why it is not up. */
  readonly error?: DproxyError
  /** Nothing is tried any more. */
  readonly final?: boolean
}

export interface Progress {
  /** A host is on its way. */
  show(host: HostStatus): void
  /** A host has arrived, or has failed. */
  settled(host: HostStatus, action: Outcome['action']): void
  end(): void
}

/** Asks the person what the hosts' logins wait for. */
interface Asker {
  see(hosts: readonly HostStatus[]): Promise<void>
}

/** Follows the supervisor until every host is up, has failed, or waits for its next try; fills in `outcomes`. */
export const followUntilSettled = async (
  client: ControlClient,
  outcomes: Map<string, Outcome>,
  progress: Progress,
  asker: Asker,
  signal: AbortSignal,
): Promise<void> => {
  const waiting = new Set([...outcomes].filter(([, { error }]) => !error).map(([name]) => name))
  if (waiting.size === 0) return
  for await (const { atMs, hosts } of watchUnlessStopped(client, signal)) {
    await asker.see(hosts.filter(({ name, state }) => waiting.has(name) && !SETTLED.has(state)))
    const seen = new Map(hosts.map((host) => [host.name, host]))
    for (const name of waiting) {
      const outcome = outcomes.get(name)
      if (!outcome || atMs < outcome.askedAtMs) continue
      const host = seen.get(name)
      if (host && !SETTLED.has(host.state)) {
        progress.show(host)
        continue
      }
      waiting.delete(name)
      outcomes.set(name, { ...outcome, ...settle(host) })
      if (host) progress.settled(host, outcome.action)
    }
    if (waiting.size === 0) return
  }
  if (signal.aborted) return
  throw new DproxyError('SUPERVISOR_DOWN', 'the supervisor went away', { hint: 'see: dproxy logs' })
}

const SETTLED: ReadonlySet<HostState> = new Set(['up', 'failed', 'retrying', 'stopped', 'draining'])

async function* watchUnlessStopped(client: ControlClient, signal: AbortSignal) {
  try {
    yield* client.watch(signal)
    // Another supervisor may have taken the place of the one that we watched.
    if (!signal.aborted) yield* client.watch(signal)
  } catch (failure) {
    if (!signal.aborted && asDproxyError(failure).code !== 'SUPERVISOR_DOWN') throw failure
  }
}

const settle = (host: HostStatus | undefined): Partial<Outcome> => {
  if (host === undefined || host.state === 'stopped' || host.state === 'draining') {
    return {
      state: 'stopped',
      final: true,
      error: new DproxyError('STOPPED', 'it was stopped by another command'),
    }
  }
  if (host.state === 'up') return { state: 'up' }
  return { state: host.state, error: errorOf(host), ...(host.state === 'failed' ? { final: true } : {}) }
}

const errorOf = ({ lastError, state }: HostStatus): DproxyError => {
  if (!lastError) return new DproxyError('LINK_DOWN', `it is ${state}`, { hint: 'see: dproxy logs' })
  const { code, message, hint, stage } = lastError
  return new DproxyError(isErrorCode(code) ? code : 'INTERNAL', message, {
    hint: hint ?? undefined,
    stage: stage ?? undefined,
  })
}
