import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { couldListen } from '../../base/unix-socket.js'

// A socket that was deleted is made again within five seconds (see KeptSocket).
const SERVES_WITHIN_MS = 7000
const LOOK_EVERY_MS = 100

/**
 * Waits while the process `pid` is a supervisor that does not serve `control`: somebody may have deleted its socket,
 * and it is about to make it again. After seven seconds it is not waited for: it hangs, or another program runs under
 * its number now.
 * @throws DproxyError SOCKET_BUSY when it serves, or anybody else does
 */
export const untilServedOrGone = async (pid: number, control: string, enough: AbortSignal): Promise<void> => {
  const deadline = performance.now() + SERVES_WITHIN_MS
  while (!enough.aborted && performance.now() < deadline && (await isSupervisor(pid))) {
    await couldListen(control)
    await sleep(LOOK_EVERY_MS, undefined, { signal: enough }).catch(() => undefined)
  }
}

/** Whether a living process is a supervisor; where there is no /proc, any process of our own may be one. */
export const isSupervisor = async (pid: number): Promise<boolean> => {
  // To kill(2), these are groups of processes.
  if (pid <= 0) return false
  try {
    process.kill(pid, 0)
    if (process.platform !== 'linux') return true
    // Empty for one that is dead and not reaped yet (proc_pid_cmdline(5)).
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0')
    return words.some((word) => word === '__supervise' || word.startsWith('--foreground'))
  } catch {
    return false
  }
}
