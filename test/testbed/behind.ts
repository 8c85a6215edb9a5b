import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Chaos } from './chaos.js'
import type { TestHost } from './hosts.js'
import type { Sshd } from './sshd.js'
import type { World } from './cli.js'

/** A host of a world's configuration: `sshd` as it is met through `chaos`, with the engine at `remoteSocket`. */
export const behind = async (
  world: World,
  chaos: Chaos,
  sshd: Sshd,
  remoteSocket: string,
): Promise<TestHost> => {
  const { host, port } = chaos
  const knownHostsFile = join(world.dir, `known_hosts-${port}`)
  await writeFile(
    knownHostsFile,
    sshd.hostKeys.map((key) => `[${host}]:${port} ${key}\n`),
  )
  return {
    host,
    port,
    user: sshd.user,
    keyFile: sshd.keyFile,
    knownHostsFile,
    remoteSocket,
    engineSocket: null,
  }
}
