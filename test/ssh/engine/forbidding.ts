import { once } from 'node:events'
import { mkdir, symlink } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import type { Scope } from '../../../src/base/scope.js'
import type { EngineLane } from '../../../src/ssh/engine/engine-lane.js'
import { openEngineLane } from '../../../src/ssh/engine/open-engine-lane.js'
import type { Target } from '../../../src/ssh/target.js'
import { startEngine, type Serve } from '../../proxy/support.js'
import { program, type Part } from '../../testbed/parts.js'
import { commandOf } from '../../testbed/processes.js'
import { Sshd } from '../../testbed/sshd.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { PLAIN_ENV, runDirIn } from '../openssh/support.js'
import { optionsOf, targetOf } from '../support.js'

/** The commands that can carry a stream: how they are shown, the program, and the part that brings it. */
export const CARRIERS = [
  { method: 'docker system dial-stdio', name: 'docker', part: 'docker' },
  { method: 'socat', name: 'socat', part: 'socat' },
  { method: 'nc', name: 'nc', part: 'nc' },
] as const satisfies readonly { method: string; name: string; part: Part }[]
export type Carrier = (typeof CARRIERS)[number]

export const TRANSPORTS = ['ssh2', 'openssh'] as const

export interface Forbidding {
  /** Which of docker, socat and nc its sessions find; all unless told. */
  readonly has?: readonly Carrier['name'][]
  /** More lines of sshd_config(5). */
  readonly options?: readonly string[]
  /** What forbids the forwarding. */
  readonly forbid?: string
  /** What `sh` is there; what this machine has unless told. */
  readonly sh?: string[]
}

/** A server that does not forward to Unix sockets. */
export const startForbidding = async (
  scope: Scope,
  {
    has = ['docker', 'socat', 'nc'],
    options = [],
    forbid = 'AllowStreamLocalForwarding no',
    sh,
  }: Forbidding = {},
): Promise<Sshd> => {
  const bin = join(scope.use(await TempDir.create()).path, 'bin')
  await mkdir(bin)
  for (const { name } of CARRIERS) {
    // One that fails stands in front of what the machine has.
    await symlink(has.includes(name) ? program(name)! : program('false')!, join(bin, name))
  }
  if (sh) await symlink(program(sh[0]!)!, join(bin, 'sh'))
  const path = `SetEnv PATH=${bin}:/usr/bin:/bin SHLVL=1`
  return scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'], options: [forbid, path, ...options] }))
}

/** An engine that answers pings in Docker's way, and leaves whatever else comes to `serve`. */
export const startPinged = async (scope: Scope, path: string, serve: Serve) => {
  let pings = 0
  const { clients } = await startEngine(scope, path, (client) => {
    client.once('readable', () => {
      const first = client.read() as Buffer | null
      if (/^(?:GET|HEAD) \/_ping/u.test(first?.toString('latin1') ?? '')) {
        pings += 1
        client.resume().end('HTTP/1.0 200 OK\r\nApi-Version: 1.50\r\nContent-Length: 0\r\n\r\n')
      } else {
        if (first) client.unshift(first)
        serve(client)
      }
    })
  })
  return { clients, pings: () => pings }
}

/** A lane to `sshd`, whose engine is at `remoteSocket`; closed with its scope. */
export const engineLaneTo = async (
  scope: Scope,
  sshd: Sshd,
  remoteSocket: string,
  changes: Partial<Target> = {},
  like?: EngineLane,
): Promise<EngineLane> => {
  const target = { ...targetOf(sshd, changes), remoteSocket }
  const options = optionsOf({ env: PLAIN_ENV, runDir: await runDirIn(scope) })
  return scope.add(await openEngineLane(target, options, like), async (lane) => {
    lane.close()
    await lane.gone
  })
}

/** The processes of commands in the sessions of `sshd`, without its own. */
export const processesIn = (sshd: Sshd): { readonly pid: number; readonly command: string }[] =>
  sshd
    .sessions()
    .map((pid) => ({ pid, command: commandOf(pid) }))
    .filter(({ command }) => command !== '' && !/^sshd(?:-session)?:/u.test(command))

/** The processes of the commands that carry streams. */
export const carriersIn = (sshd: Sshd): number[] =>
  processesIn(sshd)
    .filter(({ command }) => /^\S*(?:docker|socat|nc) /u.test(command))
    .map(({ pid }) => pid)

/** All of it that came before the client ended. */
export const untilEnd = async (client: Socket): Promise<Buffer> => {
  const pieces: Buffer[] = []
  client.on('data', (piece: Buffer) => pieces.push(piece))
  await once(client, 'end')
  return Buffer.concat(pieces)
}
