import { once } from 'node:events'
import { rename, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Sshd } from '../../testbed/sshd.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { until } from '../../testbed/until.js'
import { never } from '../support.js'
import { engineLaneTo, startPinged } from './forbidding.js'

/** The socket of an engine that is away. */
const deadSocket = async (path: string): Promise<void> => {
  const server = createServer().listen(`${path}.x`)
  await once(server, 'listening')
  await rename(`${path}.x`, path)
  server.close()
}

describeWith(['sshd', 'socat'], 'an engine that comes up while a way to it is looked for', () => {
  test.each([0, 50, 100, 200])('is reached by sshd itself, %d ms after the first try', async (lateMs) => {
    await using scope = new Scope()
    const path = join(scope.use(await TempDir.create()).path, 'engine.sock')
    const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'] }))
    const lane = await engineLaneTo(scope, sshd, path, {})
    await deadSocket(path)
    const first = lane.openStream(never).then(
      (stream) => stream.destroy(),
      () => undefined,
    )
    const started = new Promise((resolve) => setTimeout(resolve, lateMs)).then(async () => {
      await rm(path)
      await startPinged(scope, path, (client) => void client.end('x'))
    })
    await Promise.all([first, started])
    const stream = await until('it opens', () => lane.openStream(never))
    stream.destroy()
    expect(lane.forwarding).toEqual({ method: 'streamlocal', why: null })
  })
})
