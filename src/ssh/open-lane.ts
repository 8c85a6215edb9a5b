import type { Socket } from 'node:net'
import ssh2, { type ConnectConfig } from 'ssh2'
import { formatDuration } from '../base/duration.js'
import { DproxyError, type Stage } from '../base/errors.js'
import type { Env } from '../base/paths.js'
import { printable } from '../base/text.js'
import { within } from '../base/timeout.js'
import { addressesOf, connectTcp, type Address } from './connect.js'
import { guardHostKey, hostKeyOrder, type HostKeyGuard } from './host-key.js'
import { gatherIdentities } from './identities.js'
import { readKnownHosts, type KnownHost } from './known-hosts.js'
import { Lane } from './lane.js'
import { loginWith, type Login } from './login.js'
import { resolveTarget } from './resolve.js'
import { address, where, type Resolved, type Target } from './target.js'

export interface LaneOptions {
  /** The agent socket to ask for keys; null for none. */
  readonly agentSocket: string | null
  readonly env: Env
  /** Hears each stage as it begins. */
  readonly onStage: (stage: Stage) => void
  /** Hears where the target turned out to be, before anything is dialled. */
  readonly onResolved: (resolved: Resolved) => void
  /** Runs the login to one address, when its turn has come. */
  readonly throttle: <T>(name: string, login: () => Promise<T>) => Promise<T>
  readonly signal: AbortSignal
}

/**
 * Opens one SSH connection: resolves the target, connects, checks the host key, logs in. Nothing of the login
 * is sent before the host key is accepted. Each stage has the target's `connectTimeoutMs`.
 * @throws DproxyError of the stage that failed
 */
export const openLane = async (target: Target, options: LaneOptions): Promise<Lane> => {
  const { signal } = options
  const limitMs = target.connectTimeoutMs
  options.onStage('resolve')
  const resolved = await resolveTarget(target, options.env, signal)
  options.onResolved(resolved)
  const addresses = await addressesOf(resolved.host, limitMs, signal)
  return options.throttle(address(resolved), () => connectAndLogIn(resolved, addresses, limitMs, options))
}

const connectAndLogIn = async (
  resolved: Resolved,
  addresses: readonly Address[],
  limitMs: number,
  { agentSocket, onStage, signal }: LaneOptions,
): Promise<Lane> => {
  signal.throwIfAborted()
  onStage('connect')
  const [known, identities] = [
    await readKnownHosts(resolved.knownHostsFiles, resolved.hostKeyName),
    await gatherIdentities(resolved, agentSocket, signal),
  ]
  const socket = await connectTcp(resolved, addresses, limitMs, signal)
  try {
    onStage('host key')
    return await handshake({
      resolved,
      socket,
      known,
      login: loginWith(resolved, identities),
      limitMs,
      signal,
      onStage,
    })
  } catch (failure) {
    socket.destroy()
    throw failure
  }
}

interface Handshake {
  readonly resolved: Resolved
  readonly socket: Socket
  readonly known: KnownHost
  readonly login: Login
  readonly limitMs: number
  readonly signal: AbortSignal
  readonly onStage: (stage: Stage) => void
}

const handshake = async (parts: Handshake): Promise<Lane> => {
  const { resolved, socket, limitMs, signal } = parts
  const guard = guardHostKey(resolved, parts.known)
  const client = new ssh2.Client()
  const lane = new Lane(resolved, client, socket)
  let stage: 'host key' | 'login' = 'host key'
  client.once('handshake', () => {
    stage = 'login'
    parts.onStage('login')
  })
  const keyAccepted = new Promise<void>((resolve) => void client.once('handshake', () => resolve()))
  const ready = new Promise<void>((resolve) => void client.once('ready', () => resolve()))
  const failed = new Promise<never>((_, reject) => {
    lane.lost.addEventListener('abort', () => reject(explain(parts, stage, guard, failureOf(lane))), {
      once: true,
    })
  })
  // Only one of the two waits below hears it; the other must not make it an unhandled rejection.
  failed.catch(() => undefined)
  client.connect(configOf(parts, guard))
  try {
    await within(
      limitMs,
      signal,
      () => lateHandshake(resolved, limitMs),
      () => Promise.race([keyAccepted, failed]),
    )
    await within(
      limitMs,
      signal,
      () => lateLogin(resolved, limitMs),
      () => Promise.race([ready, failed]),
    )
    return lane
  } catch (failure) {
    lane.close()
    throw failure
  }
}

const configOf = ({ resolved, socket, known, login }: Handshake, guard: HostKeyGuard): ConnectConfig => {
  const order = hostKeyOrder(known)
  return {
    sock: socket,
    username: resolved.user,
    hostVerifier: guard.verify,
    authHandler: login.next,
    // Each stage has its own limit here, and liveness is ours (see ping.ts).
    readyTimeout: 0,
    keepaliveInterval: 0,
    // Only OpenSSH announces that it knows streamlocal; others do know it too.
    strictVendor: false,
    ...(order ? { algorithms: { serverHostKey: order as never } } : {}),
  }
}

const failureOf = (lane: Lane): string =>
  lane.lost.reason instanceof DproxyError ? lane.lost.reason.message.replace(/^.* was lost: /u, '') : ''

const explain = (
  parts: Handshake,
  stage: 'host key' | 'login',
  guard: HostKeyGuard,
  said: string,
): DproxyError => {
  const refusal = guard.refusal()
  if (refusal) return refusal
  const { resolved, login } = parts
  if (stage === 'login') {
    if (/authentication (methods )?fail/iu.test(said)) return login.refusal()
    return new DproxyError(
      'HANDSHAKE_FAILED',
      `${where(resolved)} hung up during the login: ${printable(said)}`,
      {
        stage: 'login',
        hint: `look at its log (journalctl -u ssh), or try: ssh -v -p ${resolved.port} ${resolved.user}@${resolved.host}`,
      },
    )
  }
  if (/no matching/iu.test(said)) {
    return new DproxyError(
      'HANDSHAKE_FAILED',
      `${address(resolved)} and dproxy have no algorithm in common: ${printable(said)}`,
      {
        stage: 'host key',
        hint: 'enable a common one in its sshd_config, such as KexAlgorithms +curve25519-sha256',
      },
    )
  }
  return new DproxyError(
    'HANDSHAKE_FAILED',
    `${address(resolved)} ended the SSH handshake: ${printable(said)}`,
    {
      stage: 'host key',
      hint: "is that port an SSH server's? one that is too busy (MaxStartups, PerSourcePenalties) hangs up like this too",
    },
  )
}

const lateHandshake = (resolved: Resolved, limitMs: number): DproxyError =>
  new DproxyError(
    'HANDSHAKE_TIMEOUT',
    `${address(resolved)} did not finish the SSH handshake within ${formatDuration(limitMs)}`,
    {
      stage: 'host key',
      hint: "is that port an SSH server's? allow more time with `connectTimeout:` or --timeout",
    },
  )

const lateLogin = (resolved: Resolved, limitMs: number): DproxyError =>
  new DproxyError(
    'LOGIN_TIMEOUT',
    `${where(resolved)} did not finish the login within ${formatDuration(limitMs)}`,
    {
      stage: 'login',
      hint: 'does the agent wait for a touch or a confirmation? allow more time with `connectTimeout:` or --timeout',
    },
  )
