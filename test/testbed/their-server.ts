/** A server of the user's own to run the end-to-end tests against, as the environment names it. */
import { homedir } from 'node:os'
import { join } from 'node:path'

export interface TheirServer {
  host: string
  port: number
  user: string
  keyFile: string
  /** Their own: a server they never logged in to is not trusted by us either. */
  knownHostsFile: string
  /** A path on the server, or `auto`. */
  remoteSocket: string
}

/**
 * The server of SSH_HOST (`host`, `host:port` or `[address]:port`), SSH_USER and SSH_KEY, with the engine
 * behind REMOTE_SOCKET (default: auto); undefined when SSH_HOST is not set.
 */
export const theirServer = (env = process.env): TheirServer | undefined => {
  if (!env.SSH_HOST) return undefined
  if (!env.SSH_USER || !env.SSH_KEY) throw new Error('SSH_HOST is set: set SSH_USER and SSH_KEY too')
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|([^:]+))(?::(\d+))?$/u.exec(env.SSH_HOST) ?? []
  const host = bracketed ?? plain
  if (host === undefined)
    throw new Error(`SSH_HOST must be host, host:port or [address]:port: ${env.SSH_HOST}`)
  return {
    host,
    port: Number(port ?? 22),
    user: env.SSH_USER,
    keyFile: env.SSH_KEY.replace(/^~(?=\/)/u, homedir()),
    knownHostsFile: join(homedir(), '.ssh', 'known_hosts'),
    remoteSocket: env.REMOTE_SOCKET ?? 'auto',
  }
}
