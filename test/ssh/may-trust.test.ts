import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { DproxyError } from '../../src/base/errors.js'
import { deferred } from '../../src/base/deferred.js'
import { mayTrust, UnknownHostKey } from '../../src/ssh/may-trust.js'
import type { Ask } from '../../src/ssh/person.js'
import { generateThrowAwayKey } from '../../src/ssh/throw-away-key.js'
import { TempDir } from '../testbed/temp-dir.js'
import { resolvedAt } from './login/support.js'
import { never } from './support.js'

/** A server whose key is not known, and a person who answers when `answered` resolves. */
const enter = (dir: TempDir) => {
  const file = join(dir.path, 'known_hosts')
  const shown = generateThrowAwayKey().publicKeyBlob
  const failure = new UnknownHostKey(new DproxyError('HOST_KEY_UNKNOWN', 'not known'), shown)
  const answered = deferred<readonly string[]>()
  let questions = 0
  const ask: Ask = () => {
    questions += 1
    return answered.promise
  }
  const resolved = resolvedAt(2222, { knownHostsFiles: [file] })
  const trust = (signal = never) => mayTrust(resolved, failure, ask, signal)
  return { file, answered, trust, questions: () => questions }
}

test('twenty hosts behind one jump host ask about its key once', async () => {
  await using dir = await TempDir.create()
  const { file, answered, trust, questions } = enter(dir)
  const hosts = Array.from({ length: 20 }, () => trust())
  answered.resolve(['yes'])
  expect(new Set(await Promise.all(hosts))).toEqual(new Set([true]))
  expect(questions()).toBe(1)
  expect((await readFile(file, 'utf8')).match(/ssh-ed25519/gu)).toHaveLength(1)
})

test('a key that one person declined is not accepted for others, who are asked themselves', async () => {
  await using dir = await TempDir.create()
  const { answered, trust, questions } = enter(dir)
  const hosts = [trust(), trust()]
  answered.resolve(['no'])
  for (const host of await Promise.allSettled(hosts)) {
    expect(host).toMatchObject({ status: 'rejected', reason: { code: 'HOST_KEY_UNKNOWN' } })
    expect(String((host as PromiseRejectedResult).reason)).toContain('you did not accept the host key')
  }
  expect(questions()).toBe(2)
})

test('whoever waits for the answer of another host can leave, and disturbs nobody', async () => {
  await using dir = await TempDir.create()
  const { answered, trust, questions } = enter(dir)
  const leaving = new AbortController()
  const [first, second, third] = [trust(), trust(leaving.signal), trust()]
  leaving.abort(new Error('stopped'))
  await expect(second).rejects.toThrow('stopped')
  answered.resolve(['yes'])
  expect(await Promise.all([first, third])).toEqual([true, true])
  expect(questions()).toBe(1)
})

test('an answer that is none is asked for again, and not for ever', async () => {
  await using dir = await TempDir.create()
  const { file, trust, answered, questions } = enter(dir)
  answered.resolve(['y'])
  await expect(trust()).rejects.toMatchObject({
    message: 'you did not accept the host key of 127.0.0.1:2222',
    hint: expect.stringMatching(/dproxy trust prod$/u) as string,
  })
  expect(questions()).toBe(3)
  await expect(readFile(file)).rejects.toThrow('ENOENT')
})
