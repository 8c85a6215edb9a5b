import { execa } from 'execa'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { fingerprint, keyType } from '../../../src/ssh/known-hosts/fingerprint.js'
import { guardHostKey, hostKeyOrder } from '../../../src/ssh/known-hosts/host-key.js'
import { knownHostsName } from '../../../src/ssh/known-hosts/names.js'
import { readKnownHosts } from '../../../src/ssh/known-hosts/read.js'
import { describeWith } from '../../testbed/describe-with.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { fileWith, line, lookupOf, other, ours } from './support.js'

/** A guard that goes by a file of these lines. */
const guardBy = async (scope: Scope, text: string, where: { host?: string; alias?: string } = {}) => {
  const file = await fileWith(scope, text, "it's known")
  const lookup = lookupOf({ files: [file], port: 2222, ...where })
  return { file, guard: guardHostKey(lookup, await readKnownHosts(lookup)) }
}
type Guard = ReturnType<typeof guardHostKey>

const answers = (guard: Guard, key: Buffer): unknown[] => {
  const said: unknown[] = []
  // What a verifier returns counts for ssh2 as an answer, too: undefined is the only one that does not.
  said.push(guard.verify(key, (ok) => said.push(ok)))
  return said
}

const name = '[example.com]:2222'

describe('the guard that ssh2 asks about a host key', () => {
  test('answers exactly once, at once, and returns nothing', async () => {
    await using scope = new Scope()
    const { guard } = await guardBy(scope, line(name))
    expect(guard.shown()).toBeUndefined()
    expect(answers(guard, ours.publicKeyBlob)).toEqual([true, undefined])
    expect(guard.refusal()).toBeUndefined()
    expect(guard.shown()).toEqual(ours.publicKeyBlob)
  })

  test('refuses an unknown key with its fingerprint and what to type', async () => {
    await using scope = new Scope()
    const { guard } = await guardBy(scope, line('other.org'))
    expect(answers(guard, ours.publicKeyBlob)).toEqual([false, undefined])
    expect(guard.refusal()).toMatchObject({
      code: 'HOST_KEY_UNKNOWN',
      stage: 'host key',
      message: `example.com:2222 showed a host key that is not known: ssh-ed25519 ${fingerprint(ours.publicKeyBlob)}`,
      hint: expect.stringMatching(/compare the fingerprint .*dproxy trust$/u) as string,
    })
    expect(guard.shown()).toEqual(ours.publicKeyBlob)
  })

  test('refuses a changed key with both fingerprints, the place, and the command that removes it', async () => {
    await using scope = new Scope()
    const { guard, file } = await guardBy(scope, line('a.org') + line(name))
    expect(answers(guard, other.publicKeyBlob)).toEqual([false, undefined])
    expect(guard.refusal()).toMatchObject({ code: 'HOST_KEY_CHANGED', stage: 'host key' })
    const { message = '', hint = '' } = guard.refusal() ?? {}
    expect(message).toContain(fingerprint(ours.publicKeyBlob))
    expect(message).toContain(fingerprint(other.publicKeyBlob))
    expect(message).toContain(`${file} line 2`)
    const command = /: (ssh-keygen .*), then: dproxy trust$/u.exec(hint)?.[1] ?? ''
    // The quotes hold: a shell finds the file and the line.
    await execa('sh', ['-c', command])
    expect(await readFile(file, 'utf8')).toBe(line('a.org'))
  })

  test('names the line with a key of the type that was shown, and says how many more there are', async () => {
    await using scope = new Scope()
    const ecdsa = await fileWith(scope, '', 'key')
    await execa('sh', ['-c', `rm '${ecdsa}' && ssh-keygen -q -t ecdsa -N '' -f '${ecdsa}'`])
    const key = await readFile(`${ecdsa}.pub`, 'utf8')
    const { guard, file } = await guardBy(scope, line(name, other.publicKeyLine) + line(name, key.trim()))
    expect(answers(guard, ours.publicKeyBlob)).toEqual([false, undefined])
    expect(guard.refusal()?.message).toContain(
      `${file} line 1 has ssh-ed25519 ${fingerprint(other.publicKeyBlob)} (and 1 other line)`,
    )
  })

  test('refuses a revoked key though it is known, and names the line', async () => {
    await using scope = new Scope()
    const { guard, file } = await guardBy(scope, line(name) + line('@revoked other.org'))
    expect(answers(guard, ours.publicKeyBlob)).toEqual([false, undefined])
    expect(guard.refusal()).toMatchObject({
      code: 'HOST_KEY_REVOKED',
      message: expect.stringContaining(`${file} line 2`) as string,
    })
  })

  test('refuses a plain key where an authority vouches for the server, and names the transport that can', async () => {
    await using scope = new Scope()
    const { guard, file } = await guardBy(scope, line(`@cert-authority ${name}`, other.publicKeyLine))
    expect(answers(guard, ours.publicKeyBlob)).toEqual([false, undefined])
    expect(guard.refusal()).toMatchObject({
      code: 'HOST_KEY_UNPROVEN',
      stage: 'host key',
      message: expect.stringContaining(`(${file} line 1), but it showed a plain key`) as string,
      hint: expect.stringContaining('transport: openssh') as string,
    })
  })

  test('accepts on a later key exchange the same key only, whatever else is known', async () => {
    await using scope = new Scope()
    const { guard } = await guardBy(scope, line(name) + line(name, other.publicKeyLine))
    expect(answers(guard, ours.publicKeyBlob)).toEqual([true, undefined])
    expect(answers(guard, Buffer.from(ours.publicKeyBlob))).toEqual([true, undefined])
    expect(guard.refusal()).toBeUndefined()
    expect(answers(guard, other.publicKeyBlob)).toEqual([false, undefined])
    expect(guard.refusal()).toMatchObject({ code: 'HOST_KEY_CHANGED', stage: 'host key' })
    expect(guard.refusal()?.message).toContain(fingerprint(ours.publicKeyBlob))
    expect(guard.refusal()?.message).toContain(fingerprint(other.publicKeyBlob))
  })

  test('keeps the accepted key though ssh2 uses its buffer again', async () => {
    await using scope = new Scope()
    const { guard } = await guardBy(scope, line(name))
    const shared = Buffer.from(ours.publicKeyBlob)
    expect(answers(guard, shared)).toEqual([true, undefined])
    other.publicKeyBlob.copy(shared)
    expect(guard.shown()).toEqual(ours.publicKeyBlob)
    expect(answers(guard, shared)).toEqual([false, undefined])
  })

  test('refuses when judging itself fails, and keys that are none', async () => {
    await using scope = new Scope()
    const lookup = lookupOf()
    const broken = guardHostKey(lookup, {
      ...(await readKnownHosts(lookup)),
      get revoked(): never {
        throw new Error('broken')
      },
    })
    expect(answers(broken, ours.publicKeyBlob)).toEqual([false, undefined])
    expect(broken.refusal()?.stage).toBe('host key')
    const { guard } = await guardBy(scope, line(name))
    for (const key of [
      Buffer.alloc(0),
      Buffer.alloc(3),
      Buffer.alloc(4, 255),
      Buffer.concat([ours.publicKeyBlob, Buffer.from([0])]),
      ours.publicKeyBlob.subarray(0, -1),
      undefined as unknown as Buffer,
    ]) {
      expect(answers(guard, key)).toEqual([false, undefined])
      expect(guard.refusal()?.stage).toBe('host key')
    }
  })

  test('lets nothing of a name reach the terminal', async () => {
    await using scope = new Scope()
    const { guard } = await guardBy(scope, '', { host: 'evil\u001b]0;x\u0007' })
    answers(guard, ours.publicKeyBlob)
    expect(guard.refusal()?.message).toContain('evil\\x1b]0;x\\x07')
  })
})

const keysOf = (...types: string[]) => ({
  keys: types.map((type) => ({ file: '', line: 1, type, blob: Buffer.alloc(0) })),
})

describe('the order in which host keys are asked for', () => {
  test('is the usual one where nothing is known, SHA-1 last and DSA never', () => {
    const order = hostKeyOrder(keysOf())
    expect(order[0]).toBe('ssh-ed25519')
    expect(order.at(-1)).toBe('ssh-rsa')
    expect(order).not.toContain('ssh-dss')
  })

  test('puts what is known first, among itself in the usual order', () => {
    expect(hostKeyOrder(keysOf('ecdsa-sha2-nistp384'))[0]).toBe('ecdsa-sha2-nistp384')
    const two = hostKeyOrder(keysOf('ecdsa-sha2-nistp256', 'ssh-ed25519'))
    expect(two.slice(0, 2)).toEqual(['ssh-ed25519', 'ecdsa-sha2-nistp256'])
    expect(hostKeyOrder(keysOf('ssh-rsa')).slice(0, 3)).toEqual(['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa'])
    expect(hostKeyOrder(keysOf('ssh-rsa')).length).toBe(7)
  })

  test('stays within what the user wants, in the order of the user', () => {
    const wanted = ['rsa-sha2-256', 'ecdsa-sha2-nistp521', 'ssh-ed25519']
    expect(hostKeyOrder(keysOf(), wanted)).toEqual(wanted)
    expect(hostKeyOrder(keysOf('ssh-ed25519'), wanted)).toEqual([
      'ssh-ed25519',
      'rsa-sha2-256',
      'ecdsa-sha2-nistp521',
    ])
    expect(hostKeyOrder(keysOf('ssh-rsa'), ['ssh-ed25519', 'rsa-sha2-256'])).toEqual([
      'rsa-sha2-256',
      'ssh-ed25519',
    ])
    expect(hostKeyOrder(keysOf('ecdsa-sha2-nistp256'), ['ssh-ed25519'])).toEqual(['ssh-ed25519'])
  })

  test('does not follow lines that name the host without its port', async () => {
    await using scope = new Scope()
    const key = `ssh-rsa ${Buffer.from('\0\0\0\u0007ssh-rsa\0\0\0\u0001\u0003\0\0\0\u0001\u0005').toString('base64')}`
    const files = [await fileWith(scope, line('example.com', key))]
    expect(hostKeyOrder(await readKnownHosts(lookupOf({ files })))[0]).toBe('rsa-sha2-512')
    expect(hostKeyOrder(await readKnownHosts(lookupOf({ files, port: 2222 })))[0]).toBe('ssh-ed25519')
  })
})

test.each([
  [{ host: 'example.com', port: 22, alias: null }, 'example.com'],
  [{ host: 'example.com', port: 2222, alias: null }, '[example.com]:2222'],
  [{ host: '2001:db8:0::1', port: 2222, alias: null }, '[2001:db8::1]:2222'],
  [{ host: 'example.com', port: 2222, alias: 'The-Alias' }, 'The-Alias'],
])('the server %j stands in known_hosts as %s', (server, expected) => {
  expect(knownHostsName(server)).toBe(expected)
})

describeWith(['sshd'], 'a fingerprint', () => {
  test.each(['ed25519', 'ecdsa', 'rsa'])('of an %s key is what ssh-keygen prints', async (type) => {
    await using dir = await TempDir.create()
    const file = join(dir.path, 'key')
    await execa('ssh-keygen', ['-q', '-t', type, '-N', '', '-f', file])
    const { stdout } = await execa('ssh-keygen', ['-lf', `${file}.pub`])
    const [label = '', base64 = ''] = (await readFile(`${file}.pub`, 'utf8')).split(' ')
    const blob = Buffer.from(base64, 'base64')
    expect(stdout.split(' ')[1]).toBe(fingerprint(blob))
    expect(keyType(blob)).toBe(label)
  })
})
