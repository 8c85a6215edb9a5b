import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DproxyError, errnoOf } from '../../base/errors.js'
import { LONGEST_SOCKET_PATH } from '../../base/paths.js'
import { privateDir } from '../../base/private-dir.js'

/** The control socket's name in its directory, by which ssh knows it: that is where ssh runs. */
export const CONTROL_SOCKET = 'c'

const PREFIX = 'ssh-'

/**
 * Makes a fresh directory (0700) for the control socket of one connection, and removes those that processes
 * have left behind which did not live to do it: the directory's name holds the process id.
 * @throws DproxyError SUPERVISOR_FAILED when `runDir` is not ours alone, SOCKET_PATH_TOO_LONG
 */
export const makeLaneDir = async (runDir: string): Promise<string> => {
  await privateDir(runDir)
  const name = join(runDir, `${PREFIX}${process.pid}-`)
  const longest = Buffer.byteLength(join(`${name}XXXXXX`, CONTROL_SOCKET))
  if (longest > LONGEST_SOCKET_PATH) {
    throw new DproxyError(
      'SOCKET_PATH_TOO_LONG',
      `the run directory ${runDir} is too long for ssh's control socket: it would take ${longest} bytes, the system takes ${LONGEST_SOCKET_PATH}`,
      { hint: 'set DPROXY_RUNTIME_DIR to a shorter one' },
    )
  }
  await removeLeftovers(runDir)
  return mkdtemp(name)
}

export const removeLaneDir = (dir: string): Promise<void> => rm(dir, { recursive: true, force: true })

const removeLeftovers = async (runDir: string): Promise<void> => {
  const names = await readdir(runDir)
  const left = names.filter((name) => {
    const pid = name.startsWith(PREFIX) ? Number.parseInt(name.slice(PREFIX.length), 10) : 0
    return pid > 0 && !isRunning(pid)
  })
  await Promise.all(left.map((name) => removeLaneDir(join(runDir, name)).catch(() => undefined)))
}

const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (failure) {
    return errnoOf(failure) !== 'ESRCH'
  }
}
