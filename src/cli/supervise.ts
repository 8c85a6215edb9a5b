import { asDproxyError, exitCodeOf } from '../base/errors.js'
import { logPath } from '../base/paths.js'
import type { Command } from './command.js'
import { loadSupervisor } from './lazy.js'

/** The background process that `up` starts; not for people. */
export const supervise: Command = {
  usage: '__supervise',
  run: async (_, io) => {
    const { EventLog, runSupervisor } = await loadSupervisor()
    const log = await EventLog.toFile(logPath(io.env))
    try {
      const { env, version, pid, onStop } = io
      await runSupervisor({ env, version, pid, log, onStop })
      return 0
    } catch (failure) {
      const error = asDproxyError(failure)
      // Two starters at once: the other one's supervisor serves both.
      if (error.code === 'SOCKET_BUSY') return 0
      log.error(null, error.message)
      return exitCodeOf(error.code)
    } finally {
      await log.close()
    }
  },
}
