/**
 * Before the first end-to-end test: two SSH servers with a Docker engine each, and the image the tests run.
 * Or the user's own server, when SSH_HOST names one. All of it goes after the last test.
 */
import { execa } from 'execa'
import { machine } from 'node:os'
import type { TestProject } from 'vitest/node'
import { Scope } from '../../src/base/scope.js'
import { World } from './cli.js'
import { Dockerd } from './dockerd.js'
import type { TestHost, TestHosts } from './hosts.js'
import { IMAGE, imageArchive, importArguments } from './image.js'
import { HOST_PARTS, lacking, program } from './parts.js'
import { Sshd } from './sshd.js'
import { type TheirServer, theirServer } from './their-server.js'

export default async (project: TestProject): Promise<() => Promise<void>> => {
  const scope = new Scope()
  const end = () => scope[Symbol.asyncDispose]()
  try {
    const server = theirServer()
    const possible = lacking(HOST_PARTS).length === 0
    project.provide('hosts', possible ? await (server ? theirHosts(server, scope) : ourHosts(scope)) : null)
    return end
  } catch (failure) {
    await end()
    throw failure
  }
}

const ourHosts = async (scope: Scope): Promise<TestHosts> => {
  const [prod, staging] = await Promise.all([ourHost(scope), ourHost(scope)])
  // One names its engine's socket, the other leaves it to dproxy to find.
  return { ours: true, prod, staging: { ...staging, remoteSocket: 'auto' } }
}

const ourHost = async (scope: Scope): Promise<TestHost> => {
  const engine = scope.use(await Dockerd.start())
  const sshd = scope.use(await Sshd.start({ dockerSocket: engine.socket }))
  const archive = await imageArchive(engine.dir)
  await execa(program('docker')!, ['-H', `unix://${engine.socket}`, ...importArguments(archive)])
  const { host, port, user, keyFile, knownHostsFile } = sshd
  return {
    host,
    port,
    user,
    keyFile,
    knownHostsFile,
    remoteSocket: engine.socket,
    engineSocket: engine.socket,
  }
}

// The image goes through the tunnel, there and, at the end, away again with every container made from it.
const theirHosts = async (server: TheirServer, scope: Scope): Promise<TestHosts> => {
  const host: TestHost = { ...server, engineSocket: null }
  const hosts: TestHosts = { ours: false, prod: host, staging: host }
  const world = scope.use(await World.create())
  await world.configure(hosts)
  const up = await world.dproxy(['up', 'prod'])
  if (up.exitCode !== 0) throw new Error(`dproxy up: ${up.stderr}`)
  scope.add(world, cleanUp)
  await makeImage(world)
  return hosts
}

// Ours where it can run; a server of another kind gets busybox as Docker Hub has it.
const makeImage = async (world: World): Promise<void> => {
  const same = (await world.docker('prod', ['info', '--format', '{{.Architecture}}'])).stdout === machine()
  const steps =
    same && lacking(['busybox']).length === 0
      ? [importArguments(await imageArchive(world.dir))]
      : [
          ['pull', HUB_IMAGE],
          ['tag', HUB_IMAGE, IMAGE],
        ]
  for (const step of steps) {
    const made = await world.docker('prod', step)
    if (made.exitCode !== 0) throw new Error(`docker ${step[0]} on your server: ${made.stderr}`)
  }
}

const HUB_IMAGE = 'busybox:stable'

const cleanUp = async (world: World): Promise<void> => {
  const left = await world.docker('prod', ['ps', '-aq', '--filter', `ancestor=${IMAGE}`])
  const containers = left.stdout.split('\n').filter(Boolean)
  if (containers.length > 0) await world.docker('prod', ['rm', '-f', ...containers])
  await world.docker('prod', ['rmi', '-f', IMAGE])
}
