import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import ssh2, { type AuthContext, type Connection, type ParsedKey } from 'ssh2'
import { relay } from './loopback-relay.js'
import type { ThrowAwayKey } from './throw-away-key.js'

// OpenSSH's own MaxAuthTries and (shortened) LoginGraceTime, sshd_config(5).
const LOGIN_TRIES = 6
const LOGIN_GRACE_MS = 20_000

export interface LoopbackServerOptions {
  hostKey: ThrowAwayKey
  /** The one key that may log in, under any user name. */
  clientKey: Pick<ThrowAwayKey, 'publicKeyLine'>
  /** The Unix sockets a client may be connected to; nothing else is ever opened. */
  sockets: readonly string[]
}

export interface LoopbackServer extends AsyncDisposable {
  readonly port: number
  /** The known_hosts line of this server: `[127.0.0.1]:port ssh-ed25519 AAAA…` */
  readonly hostKeyLine: string
  /** Stops listening and cuts every connection and stream. */
  close(): Promise<void>
}

/**
 * An SSH server on 127.0.0.1 that does one thing: connect whoever holds `clientKey` to one of `sockets`, by
 * `direct-streamlocal@openssh.com` (OpenSSH's PROTOCOL, section 2.4). No commands, no TCP forwards, no sftp.
 */
export const startLoopbackServer = async (options: LoopbackServerOptions): Promise<LoopbackServer> => {
  const key = parsedKey(options.clientKey.publicKeyLine)
  const allowed = new Set(options.sockets)
  const connections = new Set<Socket>()

  // ssh2 refuses by itself what nobody listens for: sessions, TCP forwards and global requests.
  const ssh = new ssh2.Server(
    // ssh2's compression throws at whoever writes after the connection was lost, and gains nothing here.
    { hostKeys: [options.hostKey.privateKey], algorithms: { compress: ['none'] } },
    (client) => {
      client.on('error', ignore)
      admitOnly(key, client)
      serveStreams(allowed, client)
    },
  )
  // A TCP server of our own: ssh2's tells of a client only once it has introduced itself.
  const server = createServer((socket) => {
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
    socket.setNoDelay(true)
    ssh.injectSocket(socket)
  })
  await listenOnLoopback(server)
  const { port } = server.address() as AddressInfo

  const close = async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of connections) socket.destroy()
    await closed
  }
  return {
    port,
    hostKeyLine: `[127.0.0.1]:${port} ${options.hostKey.publicKeyLine}`,
    close,
    [Symbol.asyncDispose]: close,
  }
}

const ignore = () => undefined

const parsedKey = (publicKeyLine: string): ParsedKey => {
  const parsed = ssh2.utils.parseKey(publicKeyLine)
  if (parsed instanceof Error) throw parsed
  return parsed
}

const listenOnLoopback = (server: ReturnType<typeof createServer>): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: '127.0.0.1', port: 0 }, () => {
      server.off('error', reject)
      // A failed accept (EMFILE) costs that one client, not the process.
      server.on('error', ignore)
      resolve()
    })
  })

const admitOnly = (key: ParsedKey, client: Connection): void => {
  let tries = 0
  const grace = setTimeout(() => client.end(), LOGIN_GRACE_MS)
  client.once('ready', () => clearTimeout(grace)).once('close', () => clearTimeout(grace))
  client.on('authentication', (login) => {
    if (proves(login, key)) return login.accept()
    tries += 1
    if (tries >= LOGIN_TRIES) client.end()
    else login.reject(['publickey'])
  })
}

/**
 * True when `login` shows `key`. Without a signature the client only asks whether the key would do (RFC 4252,
 * section 7); ssh2's accept() then answers that question and admits nobody.
 */
const proves = (login: AuthContext, key: ParsedKey): boolean => {
  if (login.method !== 'publickey') return false
  if (login.key.algo !== key.type || !login.key.data.equals(key.getPublicSSH())) return false
  if (!login.signature) return true
  // Whatever its type says, verify() answers some bad signatures with an Error object: only true itself counts.
  const verdict: unknown = login.blob && key.verify(login.blob, login.signature)
  return verdict === true
}

const serveStreams = (allowed: ReadonlySet<string>, client: Connection): void => {
  const engines = new Set<Socket>()
  // A stream waiting for its engine when the connection is lost would never hear of it from ssh2.
  client.once('close', () => {
    for (const engine of engines) engine.destroy()
  })
  client.on('openssh.streamlocal', (accept, reject, { socketPath }) => {
    if (!allowed.has(socketPath)) return reject()
    const engine = connect({ path: socketPath, allowHalfOpen: true })
    engines.add(engine)
    engine.once('close', () => engines.delete(engine))
    engine.once('error', reject)
    engine.once('connect', () => {
      engine.off('error', reject)
      relay(accept(), engine)
    })
  })
}
