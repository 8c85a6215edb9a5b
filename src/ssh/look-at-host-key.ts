import ssh2, { type ConnectConfig } from 'ssh2'
import type { Duplex } from 'node:stream'
import { formatDuration } from '../base/duration.js'
import { DproxyError } from '../base/errors.js'
import { printable } from '../base/text.js'
import { within } from '../base/timeout.js'
import { resolveTarget } from './config/resolve.js'
import { algorithmsOf } from './handshake.js'
import { hostKeyOrder } from './known-hosts/host-key.js'
import { judge, type Verdict } from './known-hosts/judge.js'
import { readKnownHosts, type KnownHost } from './known-hosts/read.js'
import type { LaneOptions } from './lane-options.js'
import { sshLine } from './ssh-line.js'
import { address, type Resolved, type Target } from './target.js'
import { wayTo, type LogIn } from './way.js'

/** The key a server shows, and what the known_hosts files say of it. */
export interface HostKeyLook {
  readonly resolved: Resolved
  /** In wire format (RFC 4253 section 6.6). */
  readonly shown: Buffer
  readonly verdict: Verdict
}

/**
 * Connects only as far as the host key and hangs up: nothing of the login is sent to the target. Jump hosts on
 * the way are logged in to by `logIn`, as for any connection.
 * @throws DproxyError of the stage that failed
 */
export const lookAtHostKey = async (
  target: Target,
  options: LaneOptions,
  logIn: LogIn,
): Promise<HostKeyLook> => {
  const { env, signal, onStage, onResolved } = options
  onStage('resolve')
  const resolved = await resolveTarget(target, env, signal)
  onResolved(resolved)
  const known = await readKnownHosts(resolved, signal)
  const way = await wayTo(resolved, target, options, logIn)
  try {
    onStage('connect')
    const socket = await way.dial()
    onStage('host key')
    const shown = await keyShownAt(socket, resolved, known, signal)
    return { resolved, shown, verdict: judge(known, shown) }
  } finally {
    way.close()
  }
}

const keyShownAt = async (
  socket: Duplex,
  resolved: Resolved,
  known: KnownHost,
  signal: AbortSignal,
): Promise<Buffer> => {
  const client = new ssh2.Client()
  // Refusing the key makes the library complain; by then there is nothing more to know.
  client.on('error', () => undefined)
  const limitMs = resolved.connectTimeoutMs
  const late = () => noKey(resolved, `no answer within ${formatDuration(limitMs)}`)
  try {
    return await within(limitMs, signal, late, () => {
      const config: ConnectConfig = {
        // Typed as a readable alone, used as a duplex (lib/client.js).
        sock: socket,
        username: resolved.user,
        readyTimeout: 0,
        algorithms: algorithmsOf(resolved, hostKeyOrder(known, resolved.algorithms.serverHostKey)),
      }
      return new Promise<Buffer>((resolve, reject) => {
        client.once('error', (failure) => {
          // What carries the connection has its own reason: a jump host, a program.
          reject(failure instanceof DproxyError ? failure : noKey(resolved, failure.message))
        })
        client.once('close', () => reject(noKey(resolved, 'it hung up')))
        const hostVerifier = (key: Buffer, accept: (ok: boolean) => void) => {
          resolve(Buffer.from(key))
          accept(false)
        }
        client.connect({ ...config, hostVerifier })
      })
    })
  } finally {
    client.end()
    socket.destroy()
  }
}

const noKey = (resolved: Resolved, why: string): DproxyError =>
  new DproxyError('HANDSHAKE_FAILED', `${address(resolved)} showed no host key: ${printable(why)}`, {
    stage: 'host key',
    hint: `is that port an SSH server's? see what ssh says: ${sshLine(resolved, '-v')}`,
  })
