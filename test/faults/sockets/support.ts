import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Scope } from '../../../src/base/scope.js'
import { startLoopbackServer } from '../../../src/ssh/loopback-server.js'
import { generateThrowAwayKey } from '../../../src/ssh/throw-away-key.js'
import { livingEngine } from '../../supervisor/support.js'
import { World } from '../../testbed/cli.js'

/** Node and dproxy, for a program that starts them. */
export const DPROXY = [
  process.execPath,
  process.env.DPROXY_MAIN ?? fileURLToPath(new URL('../../../dist/main.js', import.meta.url)),
] as const

/**
 * A world whose configuration names these hosts, all of them one SSH server in this process. Its engine tells
 * its version, and begins an answer to whatever else it is asked.
 */
export const worldWith = async (scope: Scope, names: readonly string[]): Promise<World> => {
  const world = scope.use(await World.create())
  const engineSocket = join(world.dir, 'engine.sock')
  const engine = createServer(livingEngine).listen({ path: engineSocket, backlog: 4096 })
  await once(engine, 'listening')
  scope.add(engine, (taken) => {
    taken.closeAllConnections()
    taken.close()
  })
  const [hostKey, clientKey] = [generateThrowAwayKey(), generateThrowAwayKey()]
  const { port, hostKeyLine } = scope.use(
    await startLoopbackServer({ hostKey, clientKey, sockets: [engineSocket] }),
  )
  const [keyFile, knownHostsFile] = [join(world.dir, 'key'), join(world.dir, 'known_hosts')]
  await writeFile(keyFile, clientKey.privateKey, { mode: 0o600 })
  await writeFile(knownHostsFile, `${hostKeyLine}\n`)
  const facts = { host: '127.0.0.1', port, user: 'deploy', keyFile, knownHostsFile, engineSocket }
  const entries = names.map((name) => [name, world.entry(name, { ...facts, remoteSocket: engineSocket })])
  await world.config({ hosts: Object.fromEntries(entries) })
  return world
}
