import { within } from '../../base/timeout.js'
import type { RemoteProbe } from '../engine/cannot-open.js'
import { PROBE_COMMAND, PROBE_LIMIT_MS, resultOf } from '../engine/probe-remote-socket.js'
import type { Channel } from './channel.js'
import type { Channels } from './channels.js'

/** The same look at the remote socket as with ssh2. Never throws; `unknown` when no command is run for us. */
export const probe = async (channels: Channels, path: string): Promise<RemoteProbe> => {
  let session: Channel | undefined
  try {
    const never = new AbortController().signal
    return await within(
      PROBE_LIMIT_MS,
      never,
      () => new Error('no answer'),
      async (signal) => {
        session = await channels.open('session', signal)
        if (!(await session.request('exec', PROBE_COMMAND))) return 'unknown'
        session.end(`${path}\n`)
        return resultOf(await output(session))
      },
    )
  } catch {
    return 'unknown'
  } finally {
    session?.destroy()
  }
}

const output = async (session: Channel): Promise<string> => {
  let said = ''
  for await (const chunk of session) {
    said += (chunk as Buffer).toString('latin1')
    // A flood is not read to its end.
    if (said.length > LONGEST) break
  }
  return said
}

const LONGEST = 64 * 1024
