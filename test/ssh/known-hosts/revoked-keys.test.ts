import { execa } from 'execa'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { judge } from '../../../src/ssh/known-hosts/judge.js'
import { readKnownHosts } from '../../../src/ssh/known-hosts/read.js'
import { fileWith, line, lookupOf, other, ours } from './support.js'

const judged = async (scope: Scope, revocations: string, shown = ours.publicKeyBlob) => {
  const files = [await fileWith(scope, line('example.com'))]
  const revoked = await fileWith(scope, revocations, 'revoked')
  return { revoked, verdict: judge(await readKnownHosts(lookupOf({ files, revoked })), shown) }
}

describe('a RevokedHostKeys file', () => {
  test('revokes the keys in it, one a line', async () => {
    await using scope = new Scope()
    const text = `# leaked\n\n ${other.publicKeyLine} a comment\n${ours.publicKeyLine}`
    const { revoked, verdict: found } = await judged(scope, text)
    expect(found).toMatchObject({ kind: 'revoked', lines: [{ file: revoked, line: 4 }] })
    expect((await judged(scope, `${other.publicKeyLine}\n`)).verdict.kind).toBe('known')
  })

  test.each([
    ['has a line that is no key', `${other.publicKeyLine}\nnonsense\n`, 'line 2 is not a public key'],
    ['has a key of no known kind', 'ssh-foo AAAAB3NzaC1mb28=\n', 'line 1 is not a public key'],
    [
      'is a key revocation list',
      'SSHKRL\n\u0000rest',
      'it is a binary key revocation list, which only OpenSSH reads',
    ],
  ])('that %s is an error: nobody can be trusted by it', async (_, text, why) => {
    await using scope = new Scope()
    await expect(judged(scope, text)).rejects.toMatchObject({
      code: 'HOST_KEY_UNREADABLE',
      stage: 'host key',
      message: expect.stringContaining(why) as string,
    })
  })

  test('that cannot be read is an error that says which configuration names it', async () => {
    await using scope = new Scope()
    const revoked = dirname(await fileWith(scope, ''))
    await expect(readKnownHosts(lookupOf({ revoked }))).rejects.toMatchObject({
      code: 'HOST_KEY_UNREADABLE',
      message: `cannot read ${revoked}: EISDIR`,
      hint: expect.stringContaining('RevokedHostKeys') as string,
    })
  })

  test('that is missing is an error, as for ssh', async () => {
    await using scope = new Scope()
    const files = [await fileWith(scope, line('example.com'))]
    const revoked = join(dirname(files[0]!), 'missing')
    await expect(readKnownHosts(lookupOf({ files, revoked }))).rejects.toMatchObject({
      code: 'HOST_KEY_UNREADABLE',
      message: `cannot read ${revoked}: it does not exist`,
    })
  })

  test('that ssh-keygen made as a revocation list is told apart', async () => {
    await using scope = new Scope()
    const key = await fileWith(scope, `${ours.publicKeyLine}\n`, 'key.pub')
    const revoked = join(dirname(key), 'krl')
    await execa('ssh-keygen', ['-q', '-k', '-f', revoked, key])
    await expect(readKnownHosts(lookupOf({ revoked }))).rejects.toMatchObject({
      code: 'HOST_KEY_UNREADABLE',
      hint: expect.stringContaining('transport: openssh') as string,
    })
  })
})
