import { statSync } from 'node:fs'
import type { Scope } from '../../../src/base/scope.js'
import { hostOf, must } from '../../e2e/lifecycle.js'
import { World } from '../../testbed/cli.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Netlab, type NetlabOptions } from '../../testbed/netlab.js'
import type { Part } from '../../testbed/parts.js'
import { Sshd } from '../../testbed/sshd.js'
import { Watch } from './watch.js'

/** Tests on a network of their own; `more` are parts beyond an SSH server and the network. */
export const describeNetwork = (title: string, more: readonly Part[], tests: () => void): void =>
  describeWith(['sshd', 'netns', ...more], title, tests)

/** How long each of these tests may take: most of it is waiting, and several wait side by side. */
export const PATIENCE = { timeout: 60_000 }

const INTERVAL_S = 1
const MISSES = 3

/** The documented bound of the time in which a silent link is found out: interval x (misses + 1) + 1 s. */
export const FOUND_OUT_MS = (INTERVAL_S * (MISSES + 1) + 1) * 1000

/** What a busy machine may add to a time that is measured. */
export const MARGIN_MS = 3000

export type Scene = Awaited<ReturnType<typeof startScene>>

/**
 * dproxy at the near end of a wire, with the host `prod` up: at the far end an SSH server, and behind that the
 * engine at the Unix socket `engineSocket`.
 */
export const startScene = async (scope: Scope, engineSocket: string, options?: NetlabOptions) => {
  const lab = scope.use(await Netlab.start(options))
  const sshd = scope.use(await Sshd.start({ netns: lab.far, hostKeyTypes: ['ed25519'] }))
  const world = scope.use(await World.create({ netns: lab.near }))
  const keepAlive = { interval: `${INTERVAL_S}s`, misses: MISSES }
  const entry = { ...world.entry('prod', hostOf(sshd, engineSocket)), keepAlive, connectTimeout: '2s' }
  await world.config({ hosts: { prod: entry } })
  await must(world, ['up', 'prod'])
  const prod = scope.use(await Watch.start(world, 'prod'))
  const socket = world.socket('prod')
  return { lab, sshd, world, prod, socket, inode: () => statSync(socket).ino }
}
