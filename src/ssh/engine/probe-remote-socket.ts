import type { Client, ClientChannel } from 'ssh2'
import { within } from '../../base/timeout.js'
import { PROBE_RESULTS, type RemoteProbe } from './cannot-open.js'

export const PROBE_LIMIT_MS = 5000

// A constant command: the path comes in on standard input, so no shell ever parses it (promise 10). Both sides
// of the quotes are plain for every login shell in use, fish included.
//
// That something listens behind the path is read from /proc/net/unix (proc(5)): flag 10000 is __SO_ACCEPTCON,
// and the path stands there as it was bound. What is not found there may still be: in another network namespace,
// or bound by another name.
export const PROBE_COMMAND = `sh -c 'IFS= read -r p; if [ -S "$p" ]; then if [ -w "$p" ]; then q=$(readlink -f "$p" 2>/dev/null); q=\${q:-$p}; grep -Fe "$p" -e "$q" /proc/net/unix 2>/dev/null | (while read -r a b c f d e i w; do if [ "$f" = 00010000 ]; then if [ "$w" = "$p" ] || [ "$w" = "$q" ]; then echo listening; exit; fi; fi; done; echo usable); else echo denied; fi; elif [ -e "$p" ]; then echo other; else echo missing; fi'`

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
      PROBE_LIMIT_MS,
      never,
      () => new Error('no answer'),
      async () => {
        channel = await exec(client, PROBE_COMMAND)
        channel.end(`${path}\n`)
        return output(channel)
      },
    )
    return resultOf(said.out, said.err)
  } catch {
    return 'unknown'
  } finally {
    channel?.close()
  }
}

/** What the command's output says; a login shell may greet first, so only its last word counts. */
export const resultOf = (said: string, complaint = ''): RemoteProbe => {
  const word = said.trim().split(/\s+/u).at(-1)
  const result = PROBE_RESULTS.find((known) => known === word)
  // passwd(1) or sshd runs instead of the command.
  return (
    result ??
    (/password (?:has )?expired|password change required/iu.test(complaint) ? 'password expired' : 'unknown')
  )
}

const exec = (client: Client, command: string): Promise<ClientChannel> =>
  new Promise((resolve, reject) => {
    client.exec(command, (failure, channel) => (failure ? reject(failure) : resolve(channel)))
  })

const output = (channel: ClientChannel): Promise<{ out: string; err: string }> =>
  new Promise((resolve) => {
    let [out, err] = ['', '']
    // A flood is not read to its end.
    const stopFlood = () => {
      if (out.length + err.length > 64 * 1024) channel.close()
    }
    channel.stderr.on('data', (chunk: Buffer) => {
      err += chunk.toString('latin1')
      stopFlood()
    })
    channel.on('data', (chunk: Buffer) => {
      out += chunk.toString('latin1')
      stopFlood()
    })
    channel.once('close', () => resolve({ out, err }))
  })
