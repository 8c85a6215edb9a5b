import { within } from '../../../base/timeout.js'
import type { RawLane, RemoteCommand } from '../../raw-lane.js'
import { COMMANDS, FIND_COMMANDS, type Command } from './commands.js'
import { patiently } from './run-command.js'

const LIMIT_MS = 5000
const LONGEST = 64 * 1024

/** Which of the commands there are on the remote machine, best first; none when the server runs none for us. */
export const findCommands = async (raw: RawLane): Promise<Command[]> => {
  let running: RemoteCommand | undefined
  try {
    const said = await within(LIMIT_MS, raw.lost, noAnswer, async (signal) => {
      running = await patiently(signal, () => raw.exec(FIND_COMMANDS, signal))
      running.stream.end()
      return outputOf(running)
    })
    const words = new Set(said.split(/\s+/u))
    return COMMANDS.filter(({ found }) => words.has(found))
  } catch {
    raw.lost.throwIfAborted()
    return []
  } finally {
    running?.stream.destroy()
  }
}

const noAnswer = (): Error => new Error('no answer')

const outputOf = async ({ stream }: RemoteCommand): Promise<string> => {
  let said = ''
  for await (const piece of stream) {
    said += (piece as Buffer).toString('latin1')
    // A flood is not read to its end.
    if (said.length > LONGEST) break
  }
  return said
}
