import { lookup } from 'node:dns/promises'
import { connect, isIP, type LookupFunction, type Socket } from 'node:net'
import { DproxyError, errnoOf } from '../base/errors.js'
import { formatDuration } from '../base/duration.js'
import { within } from '../base/timeout.js'
import { address, type Resolved } from './target.js'

export interface Address {
  readonly address: string
  readonly family: number
}

/**
 * The addresses of a host name, from the system's own resolver.
 * @throws DproxyError RESOLVE_FAILED
 */
export const addressesOf = async (host: string, limitMs: number, signal: AbortSignal): Promise<Address[]> => {
  const family = isIP(host)
  if (family !== 0) return [{ address: host, family }]
  const late = () => cannotResolve(host, `no answer within ${formatDuration(limitMs)}`)
  try {
    return await within(limitMs, signal, late, () => lookup(host, { all: true }))
  } catch (failure) {
    if (failure instanceof DproxyError || signal.aborted) throw failure
    const why = errnoOf(failure) === 'ENOTFOUND' ? 'no such name' : (errnoOf(failure) ?? String(failure))
    throw cannotResolve(host, why, failure)
  }
}

const cannotResolve = (host: string, why: string, cause?: unknown): DproxyError =>
  new DproxyError('RESOLVE_FAILED', `the name ${host} does not resolve: ${why}`, {
    stage: 'resolve',
    hint: 'check the spelling, the VPN, and `Host` entries in ~/.ssh/config',
    cause,
  })

/**
 * A TCP connection to the first of `addresses` that answers, with Nagle's delay off: opening a stream and its
 * first request are two small writes, which Nagle would hold apart by a round trip (44 ms instead of 0.5).
 * @throws DproxyError CONNECT_REFUSED, CONNECT_TIMEOUT or CONNECT_FAILED
 */
export const connectTcp = async (
  resolved: Resolved,
  addresses: readonly Address[],
  limitMs: number,
  signal: AbortSignal,
): Promise<Socket> => {
  const { host, port } = resolved
  const known = addresses.map(({ address: ip, family }) => ({ address: ip, family }))
  // Happy eyeballs (RFC 8305) asks for all addresses; a connection to one asks for one.
  const lookupKnown: LookupFunction = (_, options, answer) => {
    if (options.all) answer(null, known)
    else answer(null, known[0]?.address ?? host, known[0]?.family ?? 4)
  }
  const socket = connect({ host, port, lookup: lookupKnown, noDelay: true, autoSelectFamily: true })
  const late = () =>
    new DproxyError(
      'CONNECT_TIMEOUT',
      `${address(resolved)} did not answer within ${formatDuration(limitMs)}`,
      {
        stage: 'connect',
        hint: 'is the machine up and reachable from here (VPN, firewall, port)?',
      },
    )
  try {
    await within(limitMs, signal, late, () => connected(socket))
    return socket
  } catch (failure) {
    socket.destroy()
    if (failure instanceof DproxyError || signal.aborted) throw failure
    throw cannotConnect(resolved, failure)
  }
}

const connected = (socket: Socket): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve()
    })
  })

const cannotConnect = (resolved: Resolved, failure: unknown): DproxyError => {
  // With several addresses Node reports one AggregateError; the first refusal says enough.
  const first: unknown = failure instanceof AggregateError ? failure.errors[0] : failure
  const errno = errnoOf(first) ?? errnoOf(failure)
  const details = { stage: 'connect', cause: failure } as const
  if (errno === 'ECONNREFUSED') {
    return new DproxyError('CONNECT_REFUSED', `connection refused by ${address(resolved)}`, {
      ...details,
      hint: `is sshd running there (there: systemctl status ssh), and is ${resolved.port} its port?`,
    })
  }
  const why: Record<string, string> = {
    ETIMEDOUT: 'no answer',
    EHOSTUNREACH: 'no route to the host',
    ENETUNREACH: 'the network is unreachable',
    ECONNRESET: 'the connection was reset',
    EMFILE: 'this process has no file descriptor left',
  }
  const reason = (errno && why[errno]) ?? errno ?? String(failure)
  return new DproxyError('CONNECT_FAILED', `cannot connect to ${address(resolved)}: ${reason}`, {
    ...details,
    hint: 'is the machine up and reachable from here (VPN, firewall, port)?',
  })
}
