import { setTimeout as sleep } from 'node:timers/promises'
import { openFiles, residentBytes } from '../testbed/processes.js'
import type { Site } from './site.js'
import type { Tally } from './tally.js'

/** Looks at the supervisor from outside all the while: its memory, and whether its control socket answers. */
export const watch = async (site: Site, tally: Tally, stop: AbortSignal): Promise<void> => {
  while (!stop.aborted) {
    const askedMs = performance.now()
    try {
      const { supervisor } = await site.control.status()
      if (supervisor?.pid !== site.supervisorPid) tally.blame('supervisor', 'it is another one')
      tally.answers.push(performance.now() - askedMs)
    } catch (failure) {
      tally.blame('supervisor', `the control socket does not answer: ${String(failure)}`)
    }
    tally.resident.push({ atMs: askedMs, bytes: residentBytes(site.supervisorPid) })
    await sleep(500, undefined, { signal: stop }).catch(() => {})
  }
}

/** What the parts hold when nobody asks anything. */
export interface Holdings {
  /** File descriptors: of the supervisor, and of all sessions at all SSH servers together. */
  readonly supervisor: number
  readonly sessions: number
  /** Connections at the engines. */
  readonly engines: number
  readonly streams: number
}

export const holdings = async (site: Site): Promise<Holdings> => ({
  supervisor: openFiles(site.supervisorPid),
  sessions: site.hosts.flatMap(({ sshd }) => sshd.sessions()).reduce((sum, pid) => sum + filesOf(pid), 0),
  engines: site.engines.reduce((sum, { connections }) => sum + connections.size, 0),
  streams: (await site.status()).reduce((sum, { streams }) => sum + streams.open, 0),
})

const filesOf = (pid: number): number => {
  try {
    return openFiles(pid)
  } catch {
    return 0
  }
}
