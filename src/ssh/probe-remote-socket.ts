import type { Client, ClientChannel } from 'ssh2'
import { within } from '../base/timeout.js'
import { PROBE_RESULTS, type RemoteProbe } from './cannot-open.js'

const LIMIT_MS = 5000

// A constant command: the path comes in on standard input, so no shell ever parses it (promise 10). Both sides
// of the quotes are plain for every login shell in use, fish included.
const COMMAND = `sh -c 'IFS= read -r p; if [ -S "$p" ]; then if [ -w "$p" ]; then echo usable; else echo denied; fi; elif [ -e "$p" ]; then echo other; else echo missing; fi'`

/**
 * Looks at the remote socket with a short command there: sshd gives one and the same answer ("open failed")
 * for a missing socket, a forbidden one, a dead engine and a forbidden forwarding. Never throws; `unknown` when
 * the server runs no commands for us.
 */
export const probeRemoteSocket = async (client: Client, path: string): Promise<RemoteProbe> => {
  let channel: ClientChannel | undefined
  try {
    const never = new AbortController().signal
    const said = await within(
      LIMIT_MS,
      never,
      () => new Error('no answer'),
      async () => {
        channel = await exec(client, COMMAND)
        channel.end(`${path}\n`)
        return firstLine(channel)
      },
    )
    return PROBE_RESULTS.find((result) => result === said) ?? 'unknown'
  } catch {
    return 'unknown'
  } finally {
    channel?.close()
  }
}

const exec = (client: Client, command: string): Promise<ClientChannel> =>
  new Promise((resolve, reject) => {
    client.exec(command, (failure, channel) => (failure ? reject(failure) : resolve(channel)))
  })

const firstLine = (channel: ClientChannel): Promise<string> =>
  new Promise((resolve) => {
    let said = ''
    channel.stderr.resume()
    channel.on('data', (chunk: Buffer) => {
      said += chunk.toString('latin1')
      // A login shell may greet first; only its last word counts, and a flood is not read to its end.
      if (said.length > 64 * 1024) channel.close()
    })
    channel.once('close', () => resolve(said.trim().split(/\s+/u).at(-1) ?? ''))
  })
