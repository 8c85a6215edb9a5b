import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { unless } from '../../../base/timeout.js'
import type { RawLane } from '../../raw-lane.js'
import type { Command } from './commands.js'
import { howItEnded } from './complaint.js'
import { patiently, runCommand } from './run-command.js'

// No command says that it has connected: only an answer proves it, and that nothing there adds to the bytes.
const PING = 'GET /_ping HTTP/1.0\r\nHost: docker\r\nUser-Agent: dproxy\r\n\r\n'
const ANSWER = 'HTTP/1.'

// How long the command may take to end once it has been answered.
const ENDS_WITHIN_MS = 1000

/**
 * Whether an engine answers at the other end of a command: undefined, or how the command failed, as a clause.
 * @throws ExecRefused, or what `signal` says when nothing at all is answered
 */
export const tryCommand = async (
  raw: RawLane,
  command: Command,
  path: string,
  signal: AbortSignal,
): Promise<string | undefined> => {
  const { stream, exit, complaint } = await patiently(signal, () => runCommand(raw, command, path, signal))
  try {
    stream.on('error', () => undefined)
    stream.write(PING)
    const said = await unless([signal], answerOf(stream))
    if (said === ANSWER) {
      // So that its session is free again.
      stream.end()
      await Promise.race([exit, sleep(ENDS_WITHIN_MS, undefined, { ref: false })])
      return undefined
    }
    if (said.length === ANSWER.length) return 'does not answer as a Docker engine'
    stream.end()
    return howItEnded(await unless([signal], exit), complaint())
  } finally {
    stream.destroy()
  }
}

/** The first of what comes in, as much of it as the answer's first word; less when it ends before. */
const answerOf = (stream: Duplex): Promise<string> =>
  new Promise((resolve) => {
    let said = ''
    stream.on('data', (piece: Buffer) => {
      if (said.length >= ANSWER.length) return
      said = (said + piece.toString('latin1')).slice(0, ANSWER.length)
      if (said.length === ANSWER.length) resolve(said)
    })
    for (const event of ['end', 'close']) stream.once(event, () => resolve(said))
  })
