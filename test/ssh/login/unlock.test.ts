import { execFile } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { promisify } from 'node:util'
import ssh2 from 'ssh2'
import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { readKeyFile, type KeyFile } from '../../../src/ssh/login/key-file.js'
import { unlock } from '../../../src/ssh/login/unlock.js'
import { publicBlobOf } from '../../../src/ssh/login/wire.js'
import { describeWith } from '../../testbed/describe-with.js'
import { keyMaker } from './support.js'

const never = new AbortController().signal

const keyFile = async (file: string): Promise<KeyFile> => {
  const found = await readKeyFile(file)
  if (found.kind !== 'private') throw new Error(`${file} is no private key`)
  return found
}

/** The time that this thread has had a processor for, milliseconds (proc(5), schedstat). */
const busyMs = (): number => Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[0]) / 1e6

/**
 * The longest time that the event loop was busy between two turns of a timer while `work` ran, milliseconds. In
 * processor time: on a crowded machine others hold this thread up for longer than any key.
 */
const longestBlock = async (work: () => Promise<unknown>): Promise<number> => {
  let last = busyMs()
  let longest = 0
  const turn = () => {
    const now = busyMs()
    longest = Math.max(longest, now - last)
    last = now
  }
  const timer = setInterval(turn, 5)
  try {
    await work()
    turn()
    return longest
  } finally {
    clearInterval(timer)
  }
}

describeWith(['sshd'], 'unlocking a key', () => {
  test('does not hold up anything else, however hard the key is', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const path = await key('hard', '-a', '60', '-N', 'secret')
    const file = await keyFile(path)
    // What it would be like here: the measure shows it.
    const here = await longestBlock(async () => ssh2.utils.parseKey(file.text, 'secret'))
    expect(here).toBeGreaterThan(200)
    const elsewhere = await longestBlock(async () => {
      expect(await unlock(file, 'secret', never)).toMatchObject({ kind: 'open' })
    })
    expect(elsewhere).toBeLessThan(50)
  })

  test('gives the key whose public half is in the file', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    for (const words of ['ed25519', 'ecdsa -b 256', 'ecdsa -b 384', 'ecdsa -b 521', 'rsa -b 2048']) {
      const path = await key(words.replaceAll(' ', ''), '-a', '1', '-N', 'secret', '-t', ...words.split(' '))
      const file = await keyFile(path)
      const unlocked = await unlock(file, 'secret', never)
      if (unlocked.kind !== 'open') throw new Error(unlocked.kind)
      const [, base64 = ''] = readFileSync(`${path}.pub`, 'utf8').split(' ')
      expect(file.blob?.toString('base64')).toBe(base64)
      expect(publicBlobOf(unlocked.key)?.toString('base64')).toBe(base64)
    }
  })

  test('knows a wrong passphrase of every format for what it is', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    // In the formats without a check, one wrong passphrase in 256 passes for right at first.
    const pem = await keyFile(await key('pem', '-N', 'secret', '-t', 'ecdsa', '-m', 'PEM'))
    for (let count = 0; count < 20; count += 1) {
      expect(await unlock(pem, `wrong ${count}`, never)).toEqual({ kind: 'wrong' })
    }
    const gcm = await keyFile(await key('gcm', '-a', '1', '-N', 'secret', '-Z', 'aes256-gcm@openssh.com'))
    expect(await unlock(gcm, 'wrong', never)).toEqual({ kind: 'wrong' })
  })

  test('ends at once when it is called off', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const file = await keyFile(await key('long', '-a', '100', '-N', 'secret'))
    const over = new AbortController()
    setTimeout(() => over.abort(new Error('called off')), 50)
    await expect(unlock(file, 'secret', over.signal)).rejects.toThrow('called off')
  })

  test('shows the passphrase in no command line and no environment', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const planted = `planted ${process.pid}`
    const path = await key('hidden', '-a', '40', '-N', planted)
    const file = await keyFile(path)
    const unlocking = unlock(file, planted, never)
    const seen = [
      (await promisify(execFile)('ps', ['-eLww', '-o', 'args'])).stdout,
      ...readdirSync('/proc/self/task').map((id) => {
        try {
          return (
            readFileSync(`/proc/self/task/${id}/comm`, 'latin1') +
            readFileSync(`/proc/self/task/${id}/environ`, 'latin1')
          )
        } catch {
          return ''
        }
      }),
    ].join('\n')
    expect(seen).not.toContain(planted)
    expect(await unlocking).toMatchObject({ kind: 'open' })
    expect(JSON.stringify(process.env)).not.toContain(planted)
  })
})
