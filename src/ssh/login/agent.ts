import { connect } from 'node:net'
import { errnoOf } from '../../base/errors.js'
import { LONGEST_SOCKET_PATH } from '../../base/paths.js'
import { kindOf, uint32, WireReader, wireString } from './wire.js'

/** One key that an agent holds. */
export interface AgentKey {
  /** The public half as it crosses the wire. */
  readonly blob: Buffer
  readonly comment: string
}

// Message numbers of the SSH agent protocol (draft-miller-ssh-agent).
const FAILURE = 5
const REQUEST_IDENTITIES = 11
const IDENTITIES_ANSWER = 12
const SIGN_REQUEST = 13
const SIGN_RESPONSE = 14
const RSA_FLAGS: Readonly<Record<string, number>> = { sha256: 2, sha512: 4 }

// OpenSSH's own limit for one message (authfd.c).
const LONGEST_ANSWER = 256 * 1024

/**
 * What the agent at `socket` holds; an agent that is locked says that it holds nothing (ssh-agent.c).
 * @throws Error with a clause that says what is wrong with the agent, or the reason of `signal`
 */
export const agentKeys = async (socket: string, signal: AbortSignal): Promise<AgentKey[]> => {
  const answer = await ask(socket, Buffer.from([REQUEST_IDENTITIES]), signal)
  if (answer[0] !== IDENTITIES_ANSWER) throw new Error('it refused to list its keys')
  return understood(() => {
    const reader = new WireReader(answer.subarray(1))
    const length = reader.uint32()
    const keys: AgentKey[] = []
    while (keys.length < length) {
      keys.push({ blob: Buffer.from(reader.string()), comment: reader.string().toString() })
    }
    return keys
  })
}

/**
 * The agent's signature of `data`, without the name of its algorithm. The agent may wait for a touch or a
 * confirmation: `signal` is the only limit.
 * @param hash for RSA, as node names it; else ignored
 * @throws Error with a clause that says why there is none, or the reason of `signal`
 */
export const signByAgent = async (
  socket: string,
  { blob, data, hash }: { blob: Buffer; data: Buffer; hash: string | undefined },
  signal: AbortSignal,
): Promise<Buffer> => {
  const isRsa = kindOf(blob) === 'ssh-rsa'
  const flags = (isRsa && RSA_FLAGS[hash ?? '']) || 0
  const request = [Buffer.from([SIGN_REQUEST]), wireString(blob), wireString(data), uint32(flags)]
  const answer = await ask(socket, Buffer.concat(request), signal)
  if (answer[0] === FAILURE) throw new Error('it refused to sign: is it locked, or did somebody decline?')
  if (answer[0] !== SIGN_RESPONSE) throw new Error('its answer makes no sense')
  return understood(() => {
    const reader = new WireReader(new WireReader(answer.subarray(1)).string())
    const kind = reader.string().toString('latin1')
    if (isRsa && flags !== 0 && kind !== `rsa-sha2-${hash?.slice(3)}`) {
      throw new Error(`it signs with ${kind}, the server wants rsa-sha2-${hash?.slice(3)}`)
    }
    return Buffer.from(reader.string())
  })
}

const understood = <T>(read: () => T): T => {
  try {
    return read()
  } catch (failure) {
    throw new Error('its answer makes no sense', { cause: failure })
  }
}

/** One question, one connection: an agent that hangs or dies takes nothing else with it. */
const ask = (path: string, message: Buffer, signal: AbortSignal): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    signal.throwIfAborted()
    // Node would cut it off without a word, and connect to another one.
    if (Buffer.byteLength(path) > LONGEST_SOCKET_PATH) throw new Error('its path is too long for a socket')
    const socket = connect(path)
    let heard = Buffer.alloc(0)
    const end = (failure: unknown, answer?: Buffer) => {
      signal.removeEventListener('abort', onAbort)
      socket.destroy()
      if (answer) resolve(answer)
      else reject(failure)
    }
    const onAbort = () => end(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    socket.once('error', (failure) => end(cannotReach(failure)))
    socket.once('close', () => end(new Error('it hung up')))
    socket.once('connect', () => socket.write(wireString(message)))
    socket.on('data', (more) => {
      heard = Buffer.concat([heard, more])
      if (heard.length < 4) return
      const length = heard.readUInt32BE()
      if (length === 0 || length > LONGEST_ANSWER) end(new Error('its answer makes no sense'))
      else if (heard.length >= 4 + length) end(undefined, heard.subarray(4, 4 + length))
    })
  })

const cannotReach = (failure: Error): Error => {
  const errno = errnoOf(failure)
  const why: Record<string, string> = {
    ENOENT: 'nothing is there',
    ECONNREFUSED: 'no agent runs behind it',
    EACCES: 'you may not open it',
  }
  return new Error((errno && why[errno]) ?? failure.message, { cause: failure })
}
