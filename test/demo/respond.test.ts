import { createServer } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { sendParts, type Ask } from '../../src/demo/engine/respond.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'

test('an answer is made no faster than its reader reads, and no longer than the reader is there', async () => {
  await using scope = new Scope()
  const dir = scope.use(await TempDir.create())
  let [made, over] = [0, false]
  function* parts() {
    try {
      for (;;) {
        made += 1
        yield Buffer.alloc(64 * 1024)
      }
    } finally {
      over = true
    }
  }
  const server = createServer((_, response) => {
    const signal = new AbortController().signal
    void sendParts({ response, signal } as Ask, 'text/plain', parts()).catch(() => undefined)
  })
  await new Promise<void>((resolve) => server.listen(join(dir.path, 's'), resolve))
  scope.add(server, (taken) => taken.close())
  const client = scope.add(connect(join(dir.path, 's')), (taken) => taken.destroy())
  client.pause()
  client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await until('the sender is held back', async () => {
    const before = made
    await sleep(200)
    return made > 0 && made === before
  })
  expect(made).toBeLessThan(32)
  client.destroy()
  await until('the sender has stopped', () => over)
})
