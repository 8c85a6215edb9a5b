import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inject } from 'vitest'
import { Status } from '../../src/control/messages.js'
import { type Finished, type RunOptions, World } from '../testbed/cli.js'
import { describeOurs as describeOnOurs } from '../testbed/describe-with.js'
import type { TestHost, TestHosts } from '../testbed/hosts.js'
import { HOST_PARTS } from '../testbed/parts.js'
import { commandOf } from '../testbed/processes.js'
import type { Sshd } from '../testbed/sshd.js'

/** Tests that need hosts which nobody minds being harmed. */
export const describeOurs = (title: string, tests: (hosts: () => TestHosts) => void): void =>
  describeOnOurs(HOST_PARTS, title, () => tests(() => inject('hosts')!))

/** Node and dproxy: for a shell or a terminal to start. */
export const DPROXY = [
  process.execPath,
  process.env.DPROXY_MAIN ?? fileURLToPath(new URL('../../dist/main.js', import.meta.url)),
] as const

/** A host behind `sshd`, for a world's configuration. */
export const hostOf = (sshd: Sshd, remoteSocket: string): TestHost => {
  const { host, port, user, keyFile, knownHostsFile } = sshd
  return { host, port, user, keyFile, knownHostsFile, remoteSocket, engineSocket: null }
}

/** What `dproxy status --json` prints, checked against its schema. */
export const statusOf = async (world: World, ...words: string[]): Promise<Status> => {
  const { stdout, stderr, exitCode } = await world.dproxy(['status', '--json', ...words])
  if (exitCode !== 0) throw new Error(`dproxy status ended with ${exitCode}: ${stderr}`)
  return Status.parse(JSON.parse(stdout))
}

/** Runs dproxy; anything but exit code 0 fails the test. */
export const must = async (
  world: World,
  args: readonly string[],
  options?: RunOptions,
): Promise<Finished> => {
  const result = await world.dproxy(args, options)
  if (result.exitCode === 0) return result
  throw new Error(`dproxy ${args.join(' ')} ended with ${result.exitCode}: ${result.stderr}`)
}

/** The supervisors that run in a world. */
export const supervisors = (world: World): number[] =>
  world.processes().filter((pid) => commandOf(pid).includes('__supervise'))

/** Whether a host's socket, or by default the control socket, is there. */
export const stands = (world: World, name?: string): boolean =>
  existsSync(name === undefined ? join(world.dir, 'run/control.sock') : world.socket(name))
