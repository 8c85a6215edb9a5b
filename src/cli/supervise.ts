import { setTimeout as sleep } from 'node:timers/promises'
import { asDproxyError, exitCodeOf } from '../base/errors.js'
import { logPath } from '../base/paths.js'
import type { Command } from './command.js'
import { loadSupervisor } from './lazy.js'
import { startAfterCrash } from './supervisor-process.js'

/** The background process that `up` starts; not for people. */
export const supervise: Command = {
  usage: '__supervise',
  options: {
    'after-crash': { type: 'boolean', describe: 'In place of the one that starts it, once that is gone' },
    'take-over': { type: 'boolean', describe: 'Beside the one that runs, until told to take its place' },
  },
  run: async (words, io) => {
    const { EventLog, runSupervisor, pauseAfterCrash } = await loadSupervisor()
    if (words['after-crash'] === true) {
      await io.readStdin()
      await sleep(await pauseAfterCrash(io.env))
    }
    const log = await EventLog.toFile(logPath(io.env))
    try {
      const { env, version, pid, onStop, onCrash } = io
      const revive = () => startAfterCrash(io)
      // Whoever started us holds the other end of standard input, and lets go of it however they end.
      const teller = words['take-over'] === true ? { teller: io.readStdin() } : {}
      await runSupervisor({ env, version, pid, log, onStop, onCrash, revive, ...teller })
      return 0
    } catch (failure) {
      const error = asDproxyError(failure)
      // Two starters at once: the other one's supervisor serves both.
      if (error.code === 'SOCKET_BUSY' && words['take-over'] !== true) return 0
      log.error(null, error.message)
      return exitCodeOf(error.code)
    } finally {
      await log.close()
    }
  },
}
