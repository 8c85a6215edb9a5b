import { setTimeout as sleep } from 'node:timers/promises'
import { unless } from '../../../base/timeout.js'
import { ExecRefused, type RawLane, type RemoteCommand } from '../../raw-lane.js'
import type { Command } from './commands.js'

/** Starts a command there and tells it the path; what is written from now on goes to the socket. */
export const runCommand = async (
  raw: RawLane,
  { line }: Command,
  path: string,
  signal: AbortSignal,
): Promise<RemoteCommand> => {
  const running = await raw.exec(line, signal)
  running.stream.write(`${path}\n`)
  return running
}

/** How long a session that has ended may still count among MaxSessions there. */
const SETTLES_WITHIN_MS = 2000

/**
 * Does `start` again when the server opens no session for it, for a moment: the one before may not be over there.
 * @throws what `start` throws
 */
export const patiently = async <T>(signal: AbortSignal, start: () => Promise<T>): Promise<T> => {
  const deadlineMs = performance.now() + SETTLES_WITHIN_MS
  for (let pauseMs = 20; ; pauseMs *= 2) {
    try {
      return await start()
    } catch (failure) {
      if (!(failure instanceof ExecRefused) || !failure.noSession) throw failure
      if (performance.now() + pauseMs > deadlineMs) throw failure
    }
    await unless([signal], sleep(pauseMs))
  }
}
