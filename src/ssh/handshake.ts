import type { Duplex } from 'node:stream'
import ssh2, { type ConnectConfig } from 'ssh2'
import { formatDuration } from '../base/duration.js'
import { DproxyError, type Stage } from '../base/errors.js'
import { printable } from '../base/text.js'
import { within } from '../base/timeout.js'
import { hearGreeting, type Greeting } from './greeting.js'
import { guardHostKey, hostKeyOrder, type HostKeyGuard } from './known-hosts/host-key.js'
import type { KnownHost } from './known-hosts/read.js'
import { Lane } from './lane.js'
import type { LaneOptions } from './lane-options.js'
import { withinItsOwnTime } from './login-clock.js'
import type { Login } from './login/prepare-login.js'
import { UnknownHostKey } from './may-trust.js'
import { address, where, type Resolved } from './target.js'
import { tellerOf, type Teller } from './tell-facts.js'
import { throttled } from './throttled.js'

export interface Handshake {
  readonly resolved: Resolved
  /** Carries the bytes; destroyed when the handshake fails. */
  readonly socket: Duplex
  readonly known: KnownHost
  readonly login: Login
  readonly signal: AbortSignal
  readonly onStage: (stage: Stage) => void
  readonly onFact?: LaneOptions['onFact']
}

/**
 * Turns a connection into a lane: agrees on keys, checks the host key, logs in.
 * @throws DproxyError HANDSHAKE_*, HOST_KEY_*, LOGIN_*
 */
export const handshake = async (parts: Handshake): Promise<Lane> => {
  const { resolved, socket, login, signal } = parts
  const limitMs = resolved.connectTimeoutMs
  const guard = guardHostKey(resolved, parts.known)
  const client = new ssh2.Client()
  const lane = new Lane(resolved, client, socket, guard.refusal)
  let stage: 'host key' | 'login' = 'host key'
  parts.onStage(stage)
  const teller = tellerOf(client, guard, parts)
  const greeting = hearGreeting(socket, teller.onIdent)
  client.once('handshake', () => {
    stage = 'login'
    parts.onStage(stage)
  })
  const keyAccepted = new Promise<void>((resolve) => void client.once('handshake', () => resolve()))
  const ready = new Promise<void>((resolve) => void client.once('ready', () => resolve()))
  const failed = new Promise<never>((_, reject) => {
    const onLost = () => reject(explain(parts, stage, guard, greeting, lane.lost.reason as DproxyError))
    lane.lost.addEventListener('abort', onLost, { once: true })
  })
  // Only one of the two waits below hears it; the other must not make it an unhandled rejection.
  failed.catch(() => undefined)
  try {
    login.attach(client)
    client.connect(configOf(parts, guard, teller))
    await within(
      limitMs,
      signal,
      () => lateHandshake(resolved, limitMs),
      () => Promise.race([keyAccepted, failed]),
    )
    await withinItsOwnTime(
      limitMs,
      login.person,
      signal,
      () => login.failure() ?? lateLogin(resolved, limitMs),
      () => Promise.race([ready, failed]),
    )
    return lane
  } catch (failure) {
    lane.close()
    throw failure
  } finally {
    teller.end(greeting)
  }
}

const configOf = (
  { resolved, socket, known }: Handshake,
  guard: HostKeyGuard,
  teller: Teller,
): ConnectConfig => {
  return {
    // Typed as a readable alone, used as a duplex (lib/client.js).
    sock: socket,
    username: resolved.user,
    hostVerifier: guard.verify,
    authHandler: teller.next,
    // Each stage has its own limit here, and liveness is ours (see ping.ts).
    readyTimeout: 0,
    keepaliveInterval: 0,
    // Only OpenSSH announces that it knows streamlocal; others do know it too.
    strictVendor: false,
    algorithms: algorithmsOf(resolved, hostKeyOrder(known, resolved.algorithms.serverHostKey)),
  }
}

/** ssh2's `algorithms`: what the configuration names, and which host keys are wanted first. */
export const algorithmsOf = (
  { algorithms: { kex, cipher, hmac } }: Resolved,
  serverHostKey: unknown,
): NonNullable<ConnectConfig['algorithms']> => {
  const wanted = Object.entries({ kex, cipher, hmac, serverHostKey })
  // An undefined list would be taken for an empty one.
  return Object.fromEntries(wanted.filter(([, names]) => names !== undefined))
}

const explain = (
  parts: Handshake,
  stage: 'host key' | 'login',
  guard: HostKeyGuard,
  greeting: Greeting,
  lost: DproxyError,
): DproxyError => {
  const refusal = guard.refusal()
  const shown = guard.shown()
  if (refusal?.code === 'HOST_KEY_UNKNOWN' && shown) return new UnknownHostKey(refusal, shown)
  if (refusal) return refusal
  const { resolved, login } = parts
  const ownReason = login.failure()
  if (ownReason) return ownReason
  // What carried the connection has its own reason: a jump host, a program.
  if (lost.code !== 'LINK_LOST') return lost
  const said = lost.message.replace(/^.* was lost: /u, '')
  if (stage === 'login') return login.refusal(said)
  const turnedAway = throttled(resolved, greeting.before())
  if (turnedAway) return turnedAway
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
    `${address(resolved)} ended the SSH handshake: ${printable(said)}${insteadOfIdent(greeting)}`,
    {
      stage: 'host key',
      hint: "is that port an SSH server's? one that is too busy (MaxStartups, PerSourcePenalties) hangs up like this too",
    },
  )
}

const insteadOfIdent = (greeting: Greeting): string =>
  greeting.ident() === undefined && greeting.before() !== '' ? `; it said: ${greeting.before()}` : ''

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
