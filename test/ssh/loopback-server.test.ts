import { execa } from 'execa'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import ssh2, { type Client, type ClientChannel, type ConnectConfig } from 'ssh2'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { startLoopbackServer } from '../../src/ssh/loopback-server.js'
import { generateThrowAwayKey } from '../../src/ssh/throw-away-key.js'
import { describeWith } from '../testbed/describe-with.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'

type Serve = (engine: Socket) => void

/** All that `stream` gives. Unlike reading with `for await` it leaves the other direction alone. */
const read = (stream: Readable): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.once('end', () => resolve(Buffer.concat(chunks))).once('error', reject)
  })

const text = async (stream: Readable): Promise<string> => (await read(stream)).toString()

/** A loopback server in front of a Unix socket that `serve` answers on. */
const start = async (scope: Scope, serve: Serve) => {
  const dir = scope.use(await TempDir.create())
  const socket = join(dir.path, 'engine.sock')
  const engines = new Set<Socket>()
  const listener = createServer({ allowHalfOpen: true }, (engine) => {
    engines.add(engine)
    engine.once('close', () => engines.delete(engine)).on('error', () => undefined)
    serve(engine)
  })
  await new Promise<void>((resolve) => listener.listen(socket, resolve))
  scope.add(listener, () => {
    for (const engine of engines) engine.destroy()
    return new Promise((resolve) => listener.close(resolve))
  })
  const clientKey = generateThrowAwayKey()
  const missing = join(dir.path, 'missing.sock')
  const server = scope.use(
    await startLoopbackServer({ hostKey: generateThrowAwayKey(), clientKey, sockets: [socket, missing] }),
  )
  return { server, socket, missing, clientKey, engines, dir: dir.path }
}

const logIn = async (scope: Scope, port: number, login: ConnectConfig): Promise<Client> => {
  const client = scope.add(new ssh2.Client(), (taken) => taken.destroy())
  client.on('error', () => undefined)
  client.connect({ host: '127.0.0.1', port, username: 'demo', hostVerifier: () => true, ...login })
  await new Promise((resolve, reject) => client.once('ready', resolve as () => void).once('error', reject))
  return client
}

const open = (client: Client, path: string): Promise<ClientChannel> =>
  new Promise((resolve, reject) => {
    client.openssh_forwardOutStreamLocal(path, (failure, channel) =>
      failure ? reject(failure) : resolve(channel),
    )
  })

const failureOf = (act: (done: (failure?: Error | null) => void) => unknown) =>
  new Promise<Error | null | undefined>((resolve) => {
    act(resolve)
  })

const openSshOptions = (dir: string, port: number, key: string) =>
  [
    `-F none -p ${port} -i ${key}`,
    `-o UserKnownHostsFile=${join(dir, 'known_hosts')} -o StrictHostKeyChecking=yes`,
    '-o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none',
  ].flatMap((line) => line.split(' '))

describe('a throw-away key', () => {
  test('is whole every time', () => {
    // A broken one, which ssh2 makes once in 256 times, would hide among a few.
    for (let made = 0; made < 1500; made += 1) {
      const { privateKey, publicKeyBlob, publicKeyLine } = generateThrowAwayKey()
      expect(publicKeyBlob.length).toBe(51)
      const parsed = ssh2.utils.parseKey(privateKey)
      if (parsed instanceof Error) throw parsed
      expect(parsed.getPublicSSH().equals(publicKeyBlob)).toBe(true)
      expect(publicKeyLine).toBe(`ssh-ed25519 ${publicKeyBlob.toString('base64')}`)
    }
  })
})

describe('the loopback SSH server', () => {
  test('lets a client that has ended its direction read an answer that comes later', async () => {
    await using scope = new Scope()
    const { server, socket, clientKey, engines } = await start(scope, (engine) => {
      void read(engine).then(async (received) => {
        await sleep(50)
        engine.end(`${received.length} bytes`)
      })
    })
    const channel = await open(await logIn(scope, server.port, clientKey), socket)
    channel.end(Buffer.alloc(5_000_000))
    expect(await text(channel)).toBe('5000000 bytes')
    await until('the engine lost its client', () => engines.size === 0)
  })

  test('lets a client go on sending after the engine has ended its direction', async () => {
    await using scope = new Scope()
    let received: Promise<Buffer> | undefined
    const { server, socket, clientKey, engines } = await start(scope, (engine) => {
      engine.end('early answer')
      received = read(engine)
    })
    const channel = await open(await logIn(scope, server.port, clientKey), socket)
    expect(await text(channel)).toBe('early answer')
    channel.write(Buffer.alloc(3_000_000))
    channel.end('the last of it')
    const all = await until('the engine has a client', () => received).then((body) => body)
    expect(all.length).toBe(3_000_014)
    expect(all.subarray(-14).toString()).toBe('the last of it')
    await until('the engine lost its client', () => engines.size === 0)
  })

  test('drops what is sent to an engine that has gone, so that its sender comes to an end', async () => {
    await using scope = new Scope()
    const { server, socket, clientKey } = await start(scope, (engine) => {
      engine.end('no more', () => engine.destroy())
    })
    const channel = await open(await logIn(scope, server.port, clientKey), socket)
    expect(await text(channel)).toBe('no more')
    const closed = once(channel, 'close')
    channel.end(Buffer.alloc(8_000_000))
    await closed
  })

  test('admits no other key, no password, and nobody without a key', async () => {
    await using scope = new Scope()
    const { server } = await start(scope, (engine) => engine.end())
    const refused = /All configured authentication methods failed/u
    const { privateKey } = generateThrowAwayKey()
    await expect(logIn(scope, server.port, { privateKey })).rejects.toThrow(refused)
    await expect(logIn(scope, server.port, { password: 'demo' })).rejects.toThrow(refused)
    await expect(logIn(scope, server.port, {})).rejects.toThrow(refused)
  })

  test('admits nobody who shows the right public key and cannot sign with it', async () => {
    await using scope = new Scope()
    const { server, clientKey } = await start(scope, (engine) => engine.end())
    const publicKey = ssh2.utils.parseKey(clientKey.publicKeyLine)
    for (const signature of [Buffer.alloc(64), Buffer.alloc(3)]) {
      const forge = {
        getIdentities: (done: (failure: undefined, keys: unknown[]) => void) => done(undefined, [publicKey]),
        sign: (...words: unknown[]) =>
          (words.at(-1) as (failure: undefined, signed: Buffer) => void)(undefined, signature),
      }
      const agent = Object.assign(Object.create(ssh2.BaseAgent.prototype) as ssh2.BaseAgent, forge)
      await expect(logIn(scope, server.port, { agent })).rejects.toThrow(/authentication methods failed/u)
    }
  })

  test('opens the sockets it was given and nothing else', async () => {
    await using scope = new Scope()
    const { server, socket, clientKey, dir } = await start(scope, (engine) => engine.end('engine'))
    const client = await logIn(scope, server.port, clientKey)
    expect(await failureOf((done) => client.exec('true', done))).toBeInstanceOf(Error)
    expect(await failureOf((done) => client.shell(done))).toBeInstanceOf(Error)
    expect(await failureOf((done) => client.sftp(done))).toBeInstanceOf(Error)
    expect(
      await failureOf((done) => client.forwardOut('', 0, '127.0.0.1', server.port, done)),
    ).toBeInstanceOf(Error)
    expect(await failureOf((done) => client.forwardIn('127.0.0.1', 0, done))).toBeInstanceOf(Error)
    expect(
      await failureOf((done) => client.openssh_forwardInStreamLocal(join(dir, 'x'), done)),
    ).toBeInstanceOf(Error)
    await expect(open(client, join(dir, 'other.sock'))).rejects.toThrow(/open failure/u)
    await expect(open(client, `${dir}/../${dir.slice(5)}/engine.sock`)).rejects.toThrow(/open failure/u)
    expect(await text(await open(client, socket))).toBe('engine')
  })

  test('refuses a stream to an engine that is not there, and keeps the connection', async () => {
    await using scope = new Scope()
    const { server, socket, missing, clientKey } = await start(scope, (engine) => engine.end('engine'))
    const client = await logIn(scope, server.port, clientKey)
    await expect(open(client, missing)).rejects.toThrow(/open failure/u)
    expect(await text(await open(client, socket))).toBe('engine')
  })

  test('keeps a stream that breaks from the others', async () => {
    await using scope = new Scope()
    const { server, socket, clientKey, engines } = await start(scope, (engine) => {
      engine.once('data', (word) => {
        if (word.toString() === 'go on') return engine.end('still here')
        // With bytes left unread the kernel tells the other side of a reset.
        engine.pause()
        return setTimeout(() => engine.destroy(), 50)
      })
    })
    const client = await logIn(scope, server.port, clientKey)
    const [broken, whole] = [await open(client, socket), await open(client, socket)]
    broken.on('error', () => undefined).resume()
    const closed = once(broken, 'close')
    broken.write(Buffer.alloc(500_000))
    await closed
    // A write into the void must not hurt either.
    broken.write('too late')
    whole.write('go on')
    expect(await text(whole)).toBe('still here')
    whole.end()
    await until('no engine connection is left', () => engines.size === 0)
  })

  test('holds back an engine whose reader stands still, and only that one', async () => {
    await using scope = new Scope()
    const total = 64 * 1024 * 1024
    let sent = 0
    const { server, socket, clientKey } = await start(scope, (engine) => {
      const chunk = Buffer.alloc(64 * 1024)
      const pour = () => {
        while (sent < total) {
          sent += chunk.length
          if (!engine.write(chunk)) return
        }
        engine.end()
      }
      engine.once('data', (word) => {
        if (word.toString() !== 'pour') return engine.end('quick answer')
        engine.on('drain', pour)
        return pour()
      })
    })
    const client = await logIn(scope, server.port, clientKey)
    const slow = await open(client, socket)
    slow.pause()
    slow.write('pour')
    let before = -1
    await until('the engine is held back', async () => {
      before = sent
      await sleep(200)
      return sent > 0 && sent === before
    })
    // ssh2's windows on either side, 2 MB each, and what the kernel holds.
    expect(sent).toBeLessThan(12 * 1024 * 1024)
    const quick = await open(client, socket)
    quick.write('hello')
    expect(await text(quick)).toBe('quick answer')
    let received = 0
    for await (const chunk of slow) received += (chunk as Buffer).length
    expect(received).toBe(total)
  })

  test('lets go of its engines at once when the connection is cut under load', async () => {
    await using scope = new Scope()
    const { server, socket, clientKey, engines } = await start(scope, (engine) => {
      const pour = () => {
        while (engine.write(Buffer.alloc(64 * 1024)));
      }
      engine.on('drain', pour)
      pour()
    })
    const client = await logIn(scope, server.port, clientKey)
    const channels = await Promise.all(Array.from({ length: 20 }, () => open(client, socket)))
    for (const channel of channels) {
      channel.on('error', () => undefined).resume()
      // Nobody reads this: no engine may be waited for.
      channel.write(Buffer.alloc(500_000))
    }
    await until('all engines are served', () => engines.size === 20)
    client.destroy()
    await until('no engine connection is left', () => engines.size === 0, 2000)
  })

  test(
    'lets go of an engine that reads nothing once its client has closed the stream',
    { timeout: 30_000 },
    async () => {
      await using scope = new Scope()
      const { server, socket, clientKey, engines } = await start(scope, (engine) => engine.pause())
      const channel = await open(await logIn(scope, server.port, clientKey), socket)
      channel.write(Buffer.alloc(1_500_000))
      await until('the engine has a client', () => engines.size === 1)
      const [engine] = engines
      channel.close()
      // An engine that does not read learns by writing that its peer has gone.
      await until('the engine connection is gone', () => {
        engine?.write('x')
        return engines.size === 0
      })
    },
  )

  test('cuts everything when it closes, half-made connections too', async () => {
    await using scope = new Scope()
    const { server, socket, clientKey, engines } = await start(scope, (engine) =>
      engine.resume().once('end', () => engine.end()),
    )
    const client = await logIn(scope, server.port, clientKey)
    await open(client, socket)
    const silent = scope.add(connect(server.port, '127.0.0.1'), (taken) => taken.destroy())
    silent.on('error', () => undefined)
    const greeted = once(silent, 'data')
    await greeted
    const gone = Promise.all([once(silent.resume(), 'close'), once(client, 'close')])
    await server.close()
    await gone
    await until('no engine connection is left', () => engines.size === 0)
    await expect(logIn(scope, server.port, clientKey)).rejects.toThrow(/ECONNREFUSED/u)
  })
})

describeWith(['sshd'], 'the loopback SSH server, seen by OpenSSH', () => {
  test('has the key that its known_hosts line says, forwards a socket, and refuses commands and strangers', async () => {
    await using scope = new Scope()
    const { server, socket, clientKey, dir } = await start(scope, (engine) => {
      void read(engine).then((received) => engine.end(`${received.length} bytes`))
    })
    const [key, wrongKey] = [join(dir, 'key'), join(dir, 'wrong')]
    await writeFile(key, clientKey.privateKey, { mode: 0o600 })
    await writeFile(wrongKey, generateThrowAwayKey().privateKey, { mode: 0o600 })
    await writeFile(join(dir, 'known_hosts'), `${server.hostKeyLine}\n`)
    const ssh = (identity: string, ...rest: string[]) =>
      execa('ssh', [...openSshOptions(dir, server.port, identity), ...rest], {
        reject: false,
        timeout: 10_000,
      })

    expect(await ssh(wrongKey, '-N', 'demo@127.0.0.1')).toMatchObject({
      exitCode: 255,
      stderr: expect.stringContaining('Permission denied (publickey)') as string,
    })
    expect(await ssh(key, 'demo@127.0.0.1', 'true')).toMatchObject({
      exitCode: 255,
      stderr: expect.stringContaining('administratively prohibited') as string,
    })

    const forwarded = join(dir, 'forwarded.sock')
    const tunnel = execa(
      'ssh',
      [...openSshOptions(dir, server.port, key), '-N', '-L', `${forwarded}:${socket}`, 'demo@127.0.0.1'],
      { reject: false },
    )
    scope.add(undefined, async () => {
      tunnel.kill()
      await tunnel
    })
    const client = await until('the tunnel listens', async () => {
      const attempt = connect({ path: forwarded, allowHalfOpen: true })
      await once(attempt, 'connect')
      return attempt
    })
    client.end(Buffer.alloc(5_000_000))
    expect(await text(client)).toBe('5000000 bytes')
  })
})
