import { DproxyError } from '../base/errors.js'
import { resolveTarget } from './config/resolve.js'
import { resolvedFacts } from './facts.js'
import { handshake } from './handshake.js'
import { readKnownHosts } from './known-hosts/read.js'
import type { LaneOptions } from './lane-options.js'
import type { Lane } from './lane.js'
import { prepareLogin } from './login/prepare-login.js'
import { lookAtHostKey } from './look-at-host-key.js'
import { mayTrust, UnknownHostKey } from './may-trust.js'
import { onlyOpensshCan } from './openssh/only-openssh-can.js'
import { openOpensshLane } from './openssh/open-openssh-lane.js'
import type { OpensshLane } from './openssh/openssh-lane.js'
import { address, type Hop, type Resolved, type Target } from './target.js'
import { through, wayTo, type Way } from './way.js'

/**
 * Opens one SSH connection: resolves the target, connects, checks the host key, logs in. Nothing of the login
 * is sent before the host key is accepted; a key that is not known is shown to the person, if there is one.
 * Each stage has its own limit (`connectTimeoutMs`), without the time in which a person is asked.
 * @throws DproxyError of the stage that failed
 */
export const openLane = async (target: Target, options: LaneOptions): Promise<Lane | OpensshLane> => {
  options.onStage('resolve')
  const resolved = await resolveTarget(target, options.env, options.signal)
  options.onResolved(resolved)
  for (const text of resolvedFacts(resolved)) options.onFact?.({ stage: 'resolve', text })
  const { transport } = target
  if (transport === 'openssh') return openBySystem(resolved, target, null, options)
  if (resolved.onlyOpenssh !== null) {
    if (transport === 'ssh2') throw notBySsh2(resolved.onlyOpenssh)
    return openBySystem(resolved, target, resolved.onlyOpenssh, options)
  }
  try {
    return await openBySsh2(resolved, null, target, options)
  } catch (failure) {
    const why = transport === 'auto' ? onlySystemCan(failure) : null
    if (why === null) throw failure
    return openBySystem(resolved, target, why, options)
  }
}

const openBySystem = async (
  resolved: Resolved,
  target: Target,
  why: string | null,
  options: LaneOptions,
): Promise<OpensshLane> => {
  const { agentSocket, env, runDir, onStage, throttle, signal } = options
  // The agent of whoever asked: the one in our own environment may be gone with its session.
  const withAgent = { ...env, SSH_AUTH_SOCK: agentSocket ?? undefined }
  const attempt = () =>
    throttle(address(resolved), () =>
      openOpensshLane(resolved, target, { why, env: withAgent, runDir, signal, onStage }),
    )
  try {
    return await attempt()
  } catch (failure) {
    if (!(await isTrustedMeanwhile(resolved, target, failure, options))) throw failure
    return attempt()
  }
}

/** ssh asks nobody and tells a fingerprint alone, so the key is looked at once more to show and to store it. */
const isTrustedMeanwhile = async (
  resolved: Resolved,
  target: Target,
  failure: unknown,
  options: LaneOptions,
): Promise<boolean> => {
  const { ask, signal } = options
  if (!ask || !(failure instanceof DproxyError) || failure.code !== 'HOST_KEY_UNKNOWN') return false
  const quiet = { ...options, onStage: () => undefined, onResolved: () => undefined }
  // It may be of a kind that only the system's ssh can see.
  const look = await lookAtHostKey(target, quiet, openBySsh2).catch(() => undefined)
  signal.throwIfAborted()
  if (look?.verdict.kind !== 'unknown') return false
  return mayTrust(resolved, new UnknownHostKey(failure, look.shown), ask, signal)
}

/** Whether the system's ssh may get in where ssh2 could not, and why; null when it could not either. */
const onlySystemCan = (failure: unknown): string | null => {
  if (!(failure instanceof DproxyError)) return null
  if (failure.code === 'HOST_KEY_UNPROVEN') return 'a certificate authority vouches for its host key'
  if (failure.code === 'LOGIN_UNSUPPORTED') return failure.message
  return onlyOpensshCan(failure)
}

/**
 * A connection to a resolved host, which is the target (`hop` null) or one of its jump hosts; tried once more
 * when the person has accepted its host key meanwhile. `before`: the jump host to go through.
 */
export const openBySsh2 = async (
  resolved: Resolved,
  hop: Hop | null,
  target: Target,
  options: LaneOptions,
  before?: Lane,
): Promise<Lane> => {
  const { ask, signal } = options
  const way = before ? through(before, resolved, signal) : await wayTo(resolved, target, options, openBySsh2)
  try {
    const lane = await logIn(resolved, hop, way, options).catch(async (failure: unknown) => {
      if (!(await mayTrust(resolved, failure, ask, signal))) throw failure
      return logIn(resolved, hop, way, options)
    })
    lane.lost.addEventListener('abort', way.close, { once: true })
    return lane
  } catch (failure) {
    way.close()
    throw failure
  }
}

const logIn = (resolved: Resolved, hop: Hop | null, way: Way, options: LaneOptions): Promise<Lane> => {
  const { agentSocket, ask, secretsOf, unlocked, onStage, onFact, throttle, signal } = options
  return throttle(address(resolved), async () => {
    signal.throwIfAborted()
    onStage('connect')
    // Takes back what is being asked when the server hangs up meanwhile.
    const over = new AbortController()
    const whileConnected = AbortSignal.any([signal, over.signal])
    try {
      const help = { agentSocket, ask, secrets: secretsOf(hop), unlocked }
      const login = await prepareLogin(resolved, help, whileConnected)
      const known = await readKnownHosts(resolved, signal)
      const socket = await way.dial()
      return await handshake({ resolved, socket, known, login, signal, onStage, onFact })
    } finally {
      over.abort(new DproxyError('LINK_DOWN', 'the login is over'))
    }
  })
}

const notBySsh2 = (why: string): DproxyError =>
  new DproxyError('NOT_SUPPORTED', `its transport is ssh2, but ${why}, and ssh2 cannot do that`, {
    stage: 'resolve',
    hint: "leave it to the system's ssh: transport: auto",
  })
