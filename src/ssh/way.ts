import type { Duplex } from 'node:stream'
import { DproxyError } from '../base/errors.js'
import { sshUrl } from '../base/ssh-url.js'
import { list, shellWord } from '../base/text.js'
import { openProxyCommand } from './config/proxy-command.js'
import { resolveTarget, targetOfHop } from './config/resolve.js'
import { addressesOf, connectTcp } from './connect.js'
import { resolvedFacts } from './facts.js'
import type { Lane } from './lane.js'
import type { Fact, LaneOptions } from './lane-options.js'
import type { Ask } from './person.js'
import { where, type Hop, type Resolved, type Target } from './target.js'

/** How a host is reached, prepared as far as it can be before its own turn to log in has come. */
export interface Way {
  /** Connects; the bytes of one SSH connection. @throws DproxyError */
  readonly dial: () => Promise<Duplex>
  /** Gives back what the connection stands on: jump hosts. */
  readonly close: () => void
}

/**
 * Prepares the way to a resolved host: looks its name up, or logs in to its jump hosts, each with its own host
 * key and login, one through the other.
 * @throws DproxyError; of a jump host with its name in front
 */
export const wayTo = async (
  resolved: Resolved,
  target: Target,
  options: LaneOptions,
  logIn: LogIn,
): Promise<Way> => {
  const { route, host, connectTimeoutMs } = resolved
  const { agentSocket, env, onFact, signal } = options
  switch (route.kind) {
    case 'direct': {
      const addresses = await addressesOf(host, connectTimeoutMs, signal)
      onFact?.({ stage: 'resolve', text: `addresses: ${list(addresses.map((each) => each.address))}` })
      const dial = async () => {
        const socket = await connectTcp(resolved, addresses, connectTimeoutMs, signal)
        onFact?.({ stage: 'connect', text: `${socket.remoteAddress ?? host} answered` })
        return socket
      }
      return { dial, close: nothing }
    }
    case 'command': {
      // The agent of whoever asked: the one in our own environment may be gone with its session.
      const withAgent = { ...env, SSH_AUTH_SOCK: agentSocket ?? undefined }
      const dial = () => openProxyCommand(route.words, { env: withAgent, resolved, signal })
      return { dial, close: nothing }
    }
    case 'jump': {
      const jump = await openJumps(route.hops, target, options, logIn)
      return through(jump, resolved, signal)
    }
    default:
      return route satisfies never
  }
}

/** Logs in to a jump host, through the one before it if there is one. */
export type LogIn = (
  resolved: Resolved,
  hop: Hop,
  target: Target,
  options: LaneOptions,
  before?: Lane,
) => Promise<Lane>

/** The way through a jump host that is logged in to. */
export const through = (jump: Lane, { host, port }: Resolved, signal: AbortSignal): Way => ({
  dial: () => jump.openTcp(host, port, signal),
  close: () => jump.close('nothing goes through it any more'),
})

/** Logs in to the first hop as its own configuration says, to each further one through the one before. */
const openJumps = async (
  hops: readonly Hop[],
  target: Target,
  options: LaneOptions,
  logIn: LogIn,
): Promise<Lane> => {
  let last: Lane | undefined
  try {
    for (const hop of hops) last = await openJump(hop, last, target, options, logIn)
    if (!last) throw new Error('a jump route has at least one hop')
    return last
  } catch (failure) {
    last?.close()
    throw failure
  }
}

const openJump = async (
  hop: Hop,
  before: Lane | undefined,
  target: Target,
  options: LaneOptions,
  logIn: LogIn,
): Promise<Lane> => {
  // Whoever waits sees one stage of the target, however many hosts lie on the way.
  let name = hop.destination
  const onFact = ({ text }: Pick<Fact, 'text'>) =>
    options.onFact?.({ stage: 'connect', text: `jump host ${name}: ${text}` })
  const { ask } = options
  const askOnTheWay: Ask = async (question, signal) =>
    (await ask?.({ ...question, text: `On the way, at the jump host ${name}:\n${question.text}` }, signal)) ??
    null
  const quiet = {
    ...options,
    onStage: nothing,
    onResolved: nothing,
    onFact: options.onFact && onFact,
    ask: ask && askOnTheWay,
  }
  try {
    const jumpTarget = targetOfHop(hop, target, before !== undefined)
    const resolved = await resolveTarget(jumpTarget, options.env, options.signal)
    name = where(resolved)
    for (const text of resolvedFacts(resolved)) onFact({ text })
    if (resolved.onlyOpenssh !== null) throw needsOpenssh(resolved.onlyOpenssh)
    return await logIn(resolved, hop, jumpTarget, quiet, before)
  } catch (failure) {
    if (!(failure instanceof DproxyError)) throw failure
    const { code, message, hint, stage, cause, retryAfterMs } = failure
    // Only the first one can be reached from here, by its own name.
    const ownHint = before
      ? hint
      : hint?.replace(`dproxy trust ${shellWord(target.typed)}`, `dproxy trust ${shellWord(sshUrl(hop))}`)
    const details = { hint: ownHint, stage, cause, retryAfterMs }
    throw new DproxyError(code, `jump host ${name}: ${message}`, details)
  }
}

const needsOpenssh = (why: string): DproxyError =>
  new DproxyError('LOGIN_UNSUPPORTED', `${why}, and ssh2 cannot do that`, {
    stage: 'connect',
    hint: "leave it to the system's ssh: transport: openssh",
  })

const nothing = (): void => undefined
