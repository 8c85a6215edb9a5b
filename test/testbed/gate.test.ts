import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { Gate, VISITOR_HEADER } from './gate.js'
import { TempDir } from './temp-dir.js'
import { until } from './until.js'

const BODY = 'a body that is sent back, and long enough to be held in the middle'

/** A gate in front of a server that sends back what it is sent. */
const echoing = async (scope: Scope) => {
  const dir = scope.use(await TempDir.create()).path
  const server = createServer((asked, answer) => asked.pipe(answer)).listen(join(dir, 'engine.sock'))
  await once(server, 'listening')
  scope.add(server, (made) => (made.closeAllConnections(), made.close()))
  return scope.use(await Gate.start(join(dir, 'engine.sock'), join(dir, 'gate.sock')))
}

/** Sends the body in chunks and returns what comes back. */
const ask = async ({ path: socketPath }: Gate, path: string, visitor: string): Promise<string> => {
  const headers = { [VISITOR_HEADER]: visitor, 'Transfer-Encoding': 'chunked' }
  const asked = request({ socketPath, path, method: 'POST', headers, agent: false })
  asked.end(BODY)
  const [answer] = await once(asked, 'response')
  return text(answer)
}

test('a request that no rule is for passes, and so does its answer', async () => {
  await using scope = new Scope()
  const gate = await echoing(scope)
  const visit = gate.expect('somebody', { request: /\/held/u, downTo: 0 })
  expect(await ask(gate, '/other', 'somebody')).toBe(BODY)
  expect(await ask(gate, '/held', 'somebody else')).toBe(BODY)
  expect(visit).toMatchObject({ sent: 0, answered: 0 })
})

test('an answer is held at the byte it is told, until it is released', async () => {
  await using scope = new Scope()
  const gate = await echoing(scope)
  const visit = gate.expect('somebody', { request: /^POST \/held HTTP/u, downTo: 20 })
  let answer: string | undefined
  const asking = ask(gate, '/held', 'somebody').then((came) => (answer = came))
  await until('the answer is held', () => visit.whole && visit.answered === 20)
  expect(answer).toBeUndefined()
  visit.release()
  expect(await asking).toBe(BODY)
})

test('a request is held at the byte it is told, until it is released', async () => {
  await using scope = new Scope()
  const gate = await echoing(scope)
  const visit = gate.expect('somebody', { request: /\/held/u, upTo: 30 })
  const asking = ask(gate, '/held', 'somebody')
  await until('the request is held', () => visit.sent === 30)
  expect(visit.answered).toBe(0)
  visit.release()
  expect(await asking).toBe(BODY)
})
