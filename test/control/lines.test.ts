import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Status } from '../../src/control/messages.js'
import { until } from '../testbed/until.js'
import { hostStatus, Served } from './support.js'

const never = new AbortController().signal

const watching = (served: Served) => {
  const seen: Status[] = []
  const stop = new AbortController()
  const done = (async () => {
    for await (const status of served.client.watch(stop.signal)) seen.push(status)
  })()
  return {
    seen,
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await done
    },
  }
}

test('a watcher is told of the present, of every change soon, and of the numbers each second', async () => {
  await using served = await Served.start()
  await using watcher = watching(served)
  await until('the present', () => watcher.seen.length === 1)
  served.service.hosts = [hostStatus('prod', { state: 'connecting' })]
  const changed = performance.now()
  served.service.change()
  await until('the change', () => watcher.seen.at(-1)?.hosts[0]?.state === 'connecting')
  expect(performance.now() - changed).toBeLessThan(500)
  const before = watcher.seen.length
  await until('the second', () => watcher.seen.length > before, 3000)
})

test('a thousand changes at once are one document', async () => {
  await using served = await Served.start()
  await using watcher = watching(served)
  await until('the present', () => watcher.seen.length === 1)
  for (let change = 0; change < 1000; change += 1) served.service.change()
  await sleep(500)
  expect(watcher.seen.length).toBeLessThanOrEqual(3)
})

test('a watcher of many hosts is not flooded: what does not change comes once a second', async () => {
  await using served = await Served.start()
  served.service.hosts = Array.from({ length: 300 }, (_, index) => hostStatus(`host-${index}`))
  expect(JSON.stringify(served.service.status()).length).toBeGreaterThan(65_536)
  await using watcher = watching(served)
  await until('the present', () => watcher.seen.length === 1)
  await sleep(1500)
  expect(watcher.seen.length).toBeLessThanOrEqual(3)
})

test('a slow watcher gets the newest, never a backlog', async () => {
  await using served = await Served.start()
  const padding = 'x'.repeat(200_000)
  const socket = connect(served.path)
  socket.write('GET /v1/watch HTTP/1.1\r\nHost: dproxy\r\n\r\n')
  socket.pause()
  for (let version = 1; version <= 60; version += 1) {
    served.service.hosts = [hostStatus('prod', { description: `version ${version} ${padding}` })]
    served.service.change()
    await sleep(55)
  }
  let text = ''
  socket.setEncoding('utf8').on('data', (piece: string) => (text += piece))
  socket.resume()
  await until('the newest', () => text.includes('version 60 '))
  const versions = [...text.matchAll(/version (\d+) /gu)].map(([, version]) => Number(version))
  expect(versions.length).toBeLessThan(20)
  socket.destroy()
  await until('it is forgotten', () => served.service.watchers.size === 0)
})

test('the log is told as far as it goes, and followed without a gap', async () => {
  await using served = await Served.start()
  served.service.log('prod', 'one')
  served.service.log('staging', 'two')
  const told: string[] = []
  for await (const { message } of served.client.logs('PROD', false, never)) told.push(message)
  expect(told).toEqual(['one'])
  const stop = new AbortController()
  const followed: string[] = []
  const done = (async () => {
    for await (const { message } of served.client.logs(undefined, true, stop.signal)) followed.push(message)
  })()
  await until('the past', () => followed.length === 2)
  served.service.log(null, 'three')
  await until('the present', () => followed.length === 3)
  expect(followed).toEqual(['one', 'two', 'three'])
  stop.abort()
  await done
  await until('it is forgotten', () => served.service.followers.size === 0)
})

test('a log follower that does not read is let go of, and the others go on [C7]', async () => {
  await using served = await Served.start()
  const deaf = connect(served.path)
  deaf.on('error', () => undefined)
  deaf.write('GET /v1/logs?follow=1 HTTP/1.1\r\nHost: dproxy\r\n\r\n')
  deaf.pause()
  await until('it follows', () => served.service.followers.size === 1)
  const line = 'x'.repeat(10_000)
  for (let lines = 0; lines < 1000; lines += 1) {
    served.service.log(null, line)
    if (lines % 50 === 0) await sleep(1)
  }
  await until('it is forgotten', () => served.service.followers.size === 0)
  expect(await served.client.status()).toMatchObject({ schemaVersion: 1 })
  deaf.resume()
  await once(deaf, 'close')
})
