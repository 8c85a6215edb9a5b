import type { DproxyError } from '../../../base/errors.js'
import { within } from '../../../base/timeout.js'
import { ExecRefused, type RawLane } from '../../raw-lane.js'
import type { Command } from './commands.js'
import { engineSilent, noWayRound } from './explain.js'
import { findCommands } from './find-commands.js'
import { tryCommand } from './try-command.js'

/**
 * The first command there at whose other end an engine answers.
 * @throws `failure` with what else can be done, ENGINE_TIMEOUT, or the reason of `raw.lost`
 */
export const chooseCommand = async (raw: RawLane, path: string, failure: DproxyError): Promise<Command> => {
  const failed: string[] = []
  // The path is told in a line.
  const able = path.includes('\n') ? [] : await findCommands(raw)
  for (const command of able.filter(({ takes }) => takes(path))) {
    const how = await answers(raw, command, path)
    if (how === undefined) return command
    failed.push(`${command.method} there ${how}`)
  }
  throw noWayRound(failure, failed)
}

/** As {@link tryCommand}, in the time that an engine has for an answer. */
export const answers = async (raw: RawLane, command: Command, path: string): Promise<string | undefined> => {
  const { resolved, lost } = raw
  const late = () => engineSilent(resolved, path, resolved.connectTimeoutMs)
  try {
    return await within(resolved.connectTimeoutMs, lost, late, (signal) =>
      tryCommand(raw, command, path, signal),
    )
  } catch (failure) {
    if (failure instanceof ExecRefused) return `is not started: ${failure.message}`
    throw failure
  }
}
