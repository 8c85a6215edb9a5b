import { execa } from 'execa'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { guardHostKey } from '../../src/ssh/host-key.js'
import { fingerprint, judge, keyType, readKnownHosts } from '../../src/ssh/known-hosts.js'
import type { Resolved } from '../../src/ssh/target.js'
import { generateThrowAwayKey } from '../../src/ssh/throw-away-key.js'
import { describeWith } from '../testbed/describe-with.js'
import { TempDir } from '../testbed/temp-dir.js'

const ours = generateThrowAwayKey()
const other = generateThrowAwayKey()
// Another type, of the same name: only the label and the blob matter here.
const ecdsa = (() => {
  const type = Buffer.from('ecdsa-sha2-nistp256')
  const blob = Buffer.concat([Buffer.from([0, 0, 0, type.length]), type, Buffer.alloc(77, 7)])
  return { blob, line: `ecdsa-sha2-nistp256 ${blob.toString('base64')}` }
})()

const verdict = async (text: string, name = 'example.com', shown = ours.publicKeyBlob): Promise<string> => {
  await using dir = await TempDir.create()
  const file = join(dir.path, 'known_hosts')
  await writeFile(file, text)
  return judge(await readKnownHosts([file], name), shown).kind
}

const line = (names: string, key = ours.publicKeyLine) => `${names} ${key}\n`

describe('known_hosts', () => {
  test.each([
    ['a plain line', line('example.com')],
    ['a list of names', line('other.org,example.com,10.0.0.1')],
    ['any case', line('EXAMPLE.com')],
    ['tabs, blanks and a comment', `\t example.com \t${ours.publicKeyLine}  somebody@somewhere\n`],
    ['no newline at the end', `example.com ${ours.publicKeyLine}`],
    ['lines of another system', `# comment\r\nexample.com ${ours.publicKeyLine}\r\n`],
    ['garbage around', `\n#\nexample.com\nexample.com ssh-ed25519\n\u0000\n${line('example.com')}x y z\n`],
    ['an equal key after a different one', line('example.com', other.publicKeyLine) + line('example.com')],
  ])('accepts an equal key: %s', async (_, text) => {
    expect(await verdict(text)).toBe('known')
  })

  test.each([
    ['an empty file', ''],
    ['another name', line('example.org')],
    ['a name that only begins alike', line('example.com.evil.org')],
    ['a comment', `# ${line('example.com')}`],
    ['another port', line('[example.com]:2222')],
    ['a port that needs none', line('[example.com]:22')],
    ['a list with a negation', line('example.com,!bad.example.com')],
    ['a pattern', line('*.com')],
    ['a certificate authority', line('@cert-authority example.com')],
    ['an unknown marker', line('@trusted example.com')],
    ['a label that is not the key', `example.com ssh-rsa ${ours.publicKeyLine.split(' ')[1]}\n`],
    ['a key cut short', `example.com ssh-ed25519 AAAA\n`],
    ['a hash of another name', line(`|1|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|AAAAAAAAAAAAAAAAAAAAAAAAAAA=`)],
    ['a hash of no known kind', line('|2|AAAA|AAAA')],
    ['a hash without a value', line('|1|')],
  ])('knows nothing by %s', async (_, text) => {
    expect(await verdict(text)).toBe('unknown')
  })

  test('takes another key for the same name as a changed one, of another type too', async () => {
    expect(await verdict(line('example.com', other.publicKeyLine))).toBe('changed')
    expect(await verdict(line('example.com', ecdsa.line))).toBe('changed')
    expect(await verdict(line('example.com'), 'example.com', ecdsa.blob)).toBe('changed')
  })

  test('lets a revocation win, wherever it stands and whomever it names', async () => {
    for (const revoked of ['@revoked example.com', '@revoked *', '@revoked\tother.org', '@REVOKED [x]:1']) {
      expect(await verdict(line('example.com') + line(revoked))).toBe('revoked')
      expect(await verdict(line(revoked) + line('example.com'))).toBe('revoked')
    }
    expect(await verdict(line('@revoked example.com', other.publicKeyLine) + line('example.com'))).toBe(
      'known',
    )
    expect(await verdict(line('@revoked example.com', other.publicKeyLine))).toBe('unknown')
  })

  test('looks a port other than 22 up by [host]:port', async () => {
    expect(await verdict(line('[example.com]:2222'), '[example.com]:2222')).toBe('known')
    expect(await verdict(line('[example.com]:2223'), '[example.com]:2222')).toBe('unknown')
  })

  test('reads several files, skips missing ones, and names file and line', async () => {
    await using dir = await TempDir.create()
    const at = (name: string) => join(dir.path, name)
    await writeFile(at('one'), `# nothing\n${line('example.com', other.publicKeyLine)}`)
    await writeFile(at('two'), line('@revoked *', ecdsa.line))
    await writeFile(at('file'), '')
    const files = [at('missing'), at('one'), join(at('file'), 'below'), at('two')]
    const known = await readKnownHosts(files, 'example.com')
    expect(judge(known, ours.publicKeyBlob)).toMatchObject({
      kind: 'changed',
      known: { file: at('one'), line: 2, type: 'ssh-ed25519' },
    })
    expect(judge(known, ecdsa.blob)).toMatchObject({ kind: 'revoked', known: { file: at('two'), line: 1 } })
  })

  test('that cannot be read is an error, not an empty file', async () => {
    await using dir = await TempDir.create()
    const path = join(dir.path, 'known_hosts')
    await mkdir(path)
    await expect(readKnownHosts([path], 'example.com')).rejects.toMatchObject({
      code: 'HOST_KEY_UNREADABLE',
      message: `cannot read ${path}: EISDIR`,
    })
  })

  test('of a hundred thousand lines is read in a moment', async () => {
    const many = Array.from({ length: 100_000 }, (_, at) => line(`host-${at}.example.com`)).join('')
    await using dir = await TempDir.create()
    const file = join(dir.path, 'known_hosts')
    await writeFile(file, many)
    const started = performance.now()
    const known = await readKnownHosts([file], 'host-99999.example.com')
    expect(known.keys.length).toBe(1)
    expect(performance.now() - started).toBeLessThan(2000)
  })
})

describeWith(['sshd'], 'known_hosts as ssh-keygen writes it', () => {
  test('a hashed line is found by its name and by no other', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create())
    const file = join(dir.path, 'known_hosts')
    await writeFile(file, line('example.com') + line('[example.com]:2222', other.publicKeyLine))
    await execa('ssh-keygen', ['-H', '-f', file])
    expect(await readFile(file, 'utf8')).not.toContain('example')
    const judged = async (name: string, shown: Buffer) =>
      judge(await readKnownHosts([file], name), shown).kind
    expect(await judged('example.com', ours.publicKeyBlob)).toBe('known')
    expect(await judged('example.com', other.publicKeyBlob)).toBe('changed')
    expect(await judged('[example.com]:2222', other.publicKeyBlob)).toBe('known')
    expect(await judged('[example.com]:22', ours.publicKeyBlob)).toBe('unknown')
    expect(await judged('example.org', ours.publicKeyBlob)).toBe('unknown')
  })

  test.each(['ed25519', 'ecdsa', 'rsa'])(
    'the fingerprint of an %s key is what ssh-keygen prints',
    async (type) => {
      await using dir = await TempDir.create()
      const file = join(dir.path, 'key')
      await execa('ssh-keygen', ['-q', '-t', type, '-N', '', '-f', file])
      const { stdout } = await execa('ssh-keygen', ['-lf', `${file}.pub`])
      const [name = '', base64 = ''] = (await readFile(`${file}.pub`, 'utf8')).split(' ')
      const blob = Buffer.from(base64, 'base64')
      expect(stdout.split(' ')[1]).toBe(fingerprint(blob))
      expect(keyType(blob)).toBe(name)
    },
  )
})

const answers = (guard: ReturnType<typeof guardHostKey>, key: Buffer): unknown[] => {
  const said: unknown[] = []
  // What a verifier returns counts for ssh2 as an answer, too: undefined is the only one that does not.
  said.push(guard.verify(key, (ok) => said.push(ok)))
  return said
}

describe('the guard that ssh2 asks about a host key', () => {
  const resolved: Resolved = {
    host: 'example.com',
    port: 2222,
    user: 'deploy',
    identityFiles: [],
    identitiesNamed: false,
    identitiesOnly: false,
    knownHostsFiles: [],
    hostKeyName: '[example.com]:2222',
  }
  const known = { file: '/kh', line: 3, type: 'ssh-ed25519', blob: ours.publicKeyBlob }
  test('answers exactly once, at once, and returns nothing', () => {
    const guard = guardHostKey(resolved, { keys: [known], revoked: [] })
    expect(answers(guard, ours.publicKeyBlob)).toEqual([true, undefined])
    expect(guard.refusal()).toBeUndefined()
  })

  test('refuses with exactly false, and says both fingerprints and the place', () => {
    const guard = guardHostKey(resolved, { keys: [known], revoked: [] })
    expect(answers(guard, other.publicKeyBlob)).toEqual([false, undefined])
    expect(guard.refusal()).toMatchObject({
      code: 'HOST_KEY_CHANGED',
      stage: 'host key',
      hint: expect.stringContaining("ssh-keygen -R '[example.com]:2222'") as string,
    })
    const { message = '' } = guard.refusal() ?? {}
    expect(message).toContain(fingerprint(ours.publicKeyBlob))
    expect(message).toContain(fingerprint(other.publicKeyBlob))
    expect(message).toContain('/kh line 3')
  })

  test('accepts on a later key exchange the same key only, whatever else is known', () => {
    const also = { ...known, line: 4, blob: other.publicKeyBlob }
    const guard = guardHostKey(resolved, { keys: [known, also], revoked: [] })
    expect(answers(guard, ours.publicKeyBlob)).toEqual([true, undefined])
    expect(answers(guard, Buffer.from(ours.publicKeyBlob))).toEqual([true, undefined])
    expect(answers(guard, other.publicKeyBlob)).toEqual([false, undefined])
  })

  test('keeps the accepted key though ssh2 uses its buffer again', () => {
    const guard = guardHostKey(resolved, { keys: [known], revoked: [] })
    const shared = Buffer.from(ours.publicKeyBlob)
    expect(answers(guard, shared)).toEqual([true, undefined])
    other.publicKeyBlob.copy(shared)
    expect(answers(guard, shared)).toEqual([false, undefined])
  })

  test('refuses when judging itself fails, and keys that are none', () => {
    const broken = guardHostKey(resolved, {
      get keys(): never {
        throw new Error('broken')
      },
      revoked: [],
    })
    expect(answers(broken, ours.publicKeyBlob)).toEqual([false, undefined])
    const guard = guardHostKey(resolved, { keys: [known], revoked: [] })
    for (const key of [
      Buffer.alloc(0),
      Buffer.alloc(3),
      Buffer.alloc(4, 255),
      undefined as unknown as Buffer,
    ]) {
      expect(answers(guard, key)).toEqual([false, undefined])
    }
  })

  test('refuses a revoked key that is also known', () => {
    const guard = guardHostKey(resolved, { keys: [known], revoked: [{ ...known, line: 9 }] })
    expect(answers(guard, ours.publicKeyBlob)).toEqual([false, undefined])
    expect(guard.refusal()).toMatchObject({ code: 'HOST_KEY_REVOKED' })
    expect(guard.refusal()?.message).toContain('/kh line 9')
  })
})
