import { execa } from 'execa'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { isSignedBy } from '../../../src/ssh/known-hosts/ca-signature.js'
import { parseCertificate } from '../../../src/ssh/known-hosts/certificate.js'
import { judge, type Verdict } from '../../../src/ssh/known-hosts/judge.js'
import { readKnownHosts } from '../../../src/ssh/known-hosts/read.js'
import { describeWith } from '../../testbed/describe-with.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { blobIn, fileWith, line, lookupOf } from './support.js'

describeWith(['sshd'], 'a host certificate made by ssh-keygen', () => {
  let dir: TempDir
  beforeAll(async () => {
    dir = await TempDir.create()
    await Promise.all([...KINDS, ['server', 'ed25519', '256'] as const].map(make))
  })
  afterAll(() => dir[Symbol.asyncDispose]())

  const KINDS = [
    ['ca', 'ed25519', '256'],
    ['ca-ecdsa-256', 'ecdsa', '256'],
    ['ca-ecdsa-384', 'ecdsa', '384'],
    ['ca-ecdsa-521', 'ecdsa', '521'],
    ['ca-rsa', 'rsa', '2048'],
  ] as const

  const at = (name: string) => join(dir.path, name)
  const make = async ([name, type, bits]: readonly [string, string, string]) =>
    execa('ssh-keygen', ['-q', '-t', type, '-b', bits, '-N', '', '-f', at(name)])
  const publicKey = async (name: string) => (await readFile(at(`${name}.pub`), 'utf8')).trim()

  /** A certificate for the server's key, in wire format. */
  const certificate = async (...words: string[]): Promise<Buffer> => {
    await execa('ssh-keygen', ['-q', '-I', 'id', ...words, at('server.pub')])
    return blobIn(await readFile(at('server-cert.pub'), 'utf8'))
  }
  const forHost = ['-h', '-n', 'other.org,example.com']

  const trusting = async (ca: string) => line('@cert-authority *.com', await publicKey(ca))

  test.each([...KINDS.map(([ca]) => [ca, []] as const), ['ca-rsa', ['-t', 'rsa-sha2-256']] as const])(
    'is accepted by a line with its authority: %s %j',
    async (ca, words) => {
      const shown = await certificate('-s', at(ca), ...forHost, ...words)
      expect(await judged(await trusting(ca), shown)).toMatchObject({ kind: 'known', proof: 'certificate' })
      expect((await judged(await trusting(ca === 'ca' ? 'ca-rsa' : 'ca'), shown)).kind).toBe('unknown-ca')
    },
  )

  test.each([
    ['is for users', ['-n', 'example.com'], 'for users, not for hosts'],
    ['is for other names', ['-h', '-n', 'other.org,*.com,EXAMPLE.com'], 'for other names'],
    ['is for nobody', ['-h'], 'for other names'],
    ['is signed with SHA-1', [...forHost, '-t', 'ssh-rsa'], 'the signature'],
    ['has a critical option', [...forHost, '-O', 'critical:force-command=false'], 'critical options'],
    ['is not yet valid', [...forHost, '-V', '20900101:20910101'], 'not yet valid'],
    ['has expired', [...forHost, '-V', '20000101:20010101'], 'expired'],
  ])('that %s vouches for nothing', async (_, words, why) => {
    const shown = await certificate('-s', at('ca-rsa'), ...words)
    expect(await judged(await trusting('ca-rsa'), shown)).toMatchObject({
      kind: 'unknown-ca',
      why: expect.stringContaining(why) as string,
      lines: [{ line: 1 }],
    })
    // Its plain key counts as any other.
    const alone = line('example.com', await publicKey('server'))
    expect(await judged((await trusting('ca-rsa')) + alone, shown)).toMatchObject({
      kind: 'known',
      proof: 'key',
      lines: [{ line: 2 }],
    })
  })

  test('counts from its first second until before its last', async () => {
    const shown = await certificate('-s', at('ca'), ...forHost, '-V', '20300101000000Z:20300101000010Z')
    const start = Date.UTC(2030, 0, 1)
    const kinds = [-1, 0, 9999, 10_000].map(
      async (ms) => (await judged(await trusting('ca'), shown, start + ms)).kind,
    )
    expect(await Promise.all(kinds)).toEqual(['unknown-ca', 'known', 'known', 'unknown-ca'])
  })

  test.each(['ca', 'ca-rsa', 'ca-ecdsa-256', 'ca-ecdsa-521'])(
    'with any one byte changed is never accepted: %s',
    async (ca) => {
      const shown = await certificate('-s', at(ca), ...forHost)
      await using scope = new Scope()
      const file = await fileWith(scope, await trusting(ca))
      const known = await readKnownHosts(lookupOf({ files: [file] }))
      expect(judge(known, shown).kind).toBe('known')
      for (let index = 0; index < shown.length; index += 1) {
        const changed = Buffer.from(shown)
        changed[index] = changed[index]! ^ 1
        expect(judge(known, changed).kind, `byte ${index}`).toBe('unknown-ca')
      }
      for (const cut of [0, 1, 40, shown.length - 1]) {
        expect(judge(known, shown.subarray(0, cut)).kind).toBe('unknown-ca')
      }
      expect(judge(known, Buffer.concat([shown, Buffer.from([0])])).kind).toBe('unknown-ca')
      const { authority, signed, signature } = parseCertificate(shown)!
      expect(isSignedBy(authority, signed, signature)).toBe(true)
      expect(isSignedBy(authority, signed, Buffer.concat([signature, Buffer.from([0])]))).toBe(false)
    },
  )

  test('falls with its key and with its authority, revoked anywhere for anybody', async () => {
    const shown = await certificate('-s', at('ca'), ...forHost)
    for (const name of ['server', 'ca', 'server-cert']) {
      const revoked = line('@revoked other.org', await publicKey(name))
      expect(await judged((await trusting('ca')) + revoked, shown)).toMatchObject({
        kind: 'revoked',
        lines: [{ line: 2 }],
      })
    }
    expect(
      (await judged((await trusting('ca')) + line('@revoked *', await publicKey('ca-rsa')), shown)).kind,
    ).toBe('known')
  })
})

const judged = async (text: string, shown: Buffer, nowMs = Date.now()): Promise<Verdict> => {
  await using scope = new Scope()
  const file = await fileWith(scope, text)
  return judge(await readKnownHosts(lookupOf({ files: [file] })), shown, nowMs)
}
