import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { checkHosts } from '../../src/demo/check.js'
import { TempDir } from '../testbed/temp-dir.js'
import { engineIn } from './support.js'

type Fault = (chunk: Buffer) => Buffer

/** A socket in front of `target` that changes the answers with `fault`, and may cut what is half closed. */
const faulty = async (scope: Scope, target: string, fault: Fault, allowHalfOpen = true): Promise<string> => {
  const path = join(scope.use(await TempDir.create()).path, 'faulty.sock')
  const server = createServer({ allowHalfOpen }, (client) => {
    const engine = connect({ path: target, allowHalfOpen: true })
    client.on('error', () => engine.destroy()).on('close', () => engine.destroy())
    engine.on('error', () => client.destroy())
    client.on('data', (chunk) => engine.write(chunk)).on('end', () => allowHalfOpen && engine.end())
    engine.on('data', (chunk) => client.write(fault(chunk))).on('end', () => client.end())
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  scope.add(server, (taken) => taken.close())
  return path
}

const flip: Fault = (chunk) => {
  const changed = Buffer.from(chunk)
  const last = changed.length - 10
  // Only in large chunks, and never in the head of an answer.
  if (changed.length > 8000) changed[last] = (changed[last] ?? 0) ^ 1
  return changed
}

const failed = async (socket: string) =>
  (await checkHosts([{ name: 'prod', socket }]))
    .filter(({ result }) => result !== 'passed')
    .map(({ check }) => check)

test('a healthy host passes every check', async () => {
  await using scope = new Scope()
  const { socket } = await engineIn(scope)
  const rows = await checkHosts([{ name: 'prod', socket }])
  expect(rows.map(({ check, result }) => [check, result])).toEqual(
    ['ping', 'version', 'containers', 'images', 'logs', 'half-close', 'download', 'upload'].map((check) => [
      check,
      'passed',
    ]),
  )
  expect(rows.find(({ check }) => check === 'logs')?.detail).toBe('200 lines, equal')
  expect(rows.find(({ check }) => check === 'download')?.detail).toBe('4.2 MB, sha256 equal')
})

test('a changed byte in a log or a download is found', async () => {
  await using scope = new Scope()
  const { socket } = await engineIn(scope)
  expect(await failed(await faulty(scope, socket, flip))).toEqual(['logs', 'download'])
})

test('a proxy that gives up on a client which has ended its direction is found', async () => {
  await using scope = new Scope()
  const { socket } = await engineIn(scope)
  expect(await failed(await faulty(scope, socket, (chunk) => chunk, false))).toEqual(['half-close'])
})

test('a host that does not answer fails every check and holds up no other', async () => {
  await using scope = new Scope()
  const { socket } = await engineIn(scope)
  const rows = await checkHosts([
    { name: 'gone', socket: '/tmp/there-is-no-such.sock' },
    { name: 'prod', socket },
  ])
  expect(rows.filter(({ result }) => result !== 'passed').map(({ host }) => host)).toEqual(
    Array.from({ length: 8 }, () => 'gone'),
  )
  expect(rows.find(({ host }) => host === 'gone')?.detail).toContain('ENOENT')
})
