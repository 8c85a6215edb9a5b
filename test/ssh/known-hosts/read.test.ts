import { execa } from 'execa'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { judge } from '../../../src/ssh/known-hosts/judge.js'
import { hashedName } from '../../../src/ssh/known-hosts/names.js'
import { readKnownHosts } from '../../../src/ssh/known-hosts/read.js'
import { describeWith } from '../../testbed/describe-with.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { blobIn, fileWith, line, lookupOf, other, ours } from './support.js'

// Another type, of the same name: only the label and the blob matter here.
const ecdsa = `ecdsa-sha2-nistp256 ${Buffer.concat(
  ['ecdsa-sha2-nistp256', 'nistp256', `\u0004${'x'.repeat(64)}`].flatMap((text) => [
    Buffer.from([0, 0, 0, text.length]),
    Buffer.from(text, 'latin1'),
  ]),
).toString('base64')}`

const verdict = async (
  text: string,
  shown = ours.publicKeyBlob,
  where: { host?: string; port?: number; alias?: string } = {},
): Promise<string> => {
  await using scope = new Scope()
  const file = await fileWith(scope, text)
  return judge(await readKnownHosts(lookupOf({ files: [file], ...where })), shown).kind
}

const base64 = ours.publicKeyLine.split(' ')[1]

describe('known_hosts', () => {
  test.each([
    ['tabs, blanks and a comment', `\t example.com \t${ours.publicKeyLine}  somebody@somewhere\n`],
    ['no newline at the end', `example.com ${ours.publicKeyLine}`],
    ['lines of another system', `# comment\r\nexample.com ${ours.publicKeyLine}\r\n`],
    ['garbage around', `\n#\nexample.com\nexample.com ssh-ed25519\n\u0000\n${line('example.com')}x y z\n`],
    ['a line that C ends at its NUL', `example.com ${ours.publicKeyLine}\u0000 rest\n`],
    ['a pattern in any case', line('EX?mple.*')],
    ['a name with a negation of another', line('*.com,!bad.example.com')],
  ])('accepts an equal key: %s', async (_, text) => {
    expect(await verdict(text)).toBe('known')
  })

  test.each([
    ['another name', line('example.org')],
    ['a name that only begins alike', line('example.com.evil.org')],
    ['a comment', `# ${line('example.com')}`],
    ['a port that needs none', line('[example.com]:22')],
    ['another separator', `example.com\u00a0${ours.publicKeyLine}\n`],
    ['a vertical tab', `example.com\v${ours.publicKeyLine}\n`],
    ['a negation of the name', line('*,!EXAMPLE.com')],
    ['nothing but a negation', line('!example.org')],
    ['a pattern beyond the limit', line(`example.com,${'a'.repeat(1023)}`)],
    ['a label that is not the key', `example.com ssh-rsa ${base64}\n`],
    ['a key cut short', `example.com ssh-ed25519 ${base64?.slice(0, -4)}\n`],
    ['a key with bytes left over', `example.com ssh-ed25519 ${base64}AAAA\n`],
    [
      'base64 with a stranger in it',
      `example.com ssh-ed25519 ${base64?.slice(0, 20)}*${base64?.slice(20)}\n`,
    ],
    ['two markers', line('@cert-authority @revoked example.com')],
    ['a key without a name', line('@revoked')],
    ['a hash of another name', line(hashedName('example.org'))],
    ['a hash of the name in another case', line(hashedName('Example.com'))],
    ['a hash with a short salt', line(hashedName('example.com', Buffer.from('short')))],
    ['a hash of no known kind', line(hashedName('example.com').replace('|1|', '|2|'))],
    ['a hash in a list', line(`${hashedName('example.com')},example.org`)],
    ['a hash in other letters', line(hashedName('example.com').replace('=|', '|'))],
    ['a hash without a value', line('|1|')],
  ])('knows nothing by %s', async (_, text) => {
    expect(await verdict(text)).toBe('unknown')
  })

  test('takes another key for the same name as a changed one, of another type too', async () => {
    expect(await verdict(line('example.com', other.publicKeyLine))).toBe('changed')
    expect(await verdict(line('example.com', ecdsa))).toBe('changed')
    expect(await verdict(line('example.com'), blobIn(ecdsa))).toBe('changed')
  })

  test('lets a revocation win, wherever it stands and whomever it names', async () => {
    for (const revoked of [
      '@revoked example.com',
      '@revoked *',
      '@revoked\tother.org',
      '@revoked !*',
      '@revoked [x]:1',
    ]) {
      expect(await verdict(line('example.com') + line(revoked))).toBe('revoked')
      expect(await verdict(line(revoked) + line('example.com'))).toBe('revoked')
    }
    const another = line('@revoked example.com', other.publicKeyLine)
    expect(await verdict(another + line('example.com'))).toBe('known')
    expect(await verdict(another)).toBe('unknown')
  })

  test.each(['@REVOKED', '@Cert-Authority', '@revokd', '@'])(
    'with the marker %s is an error that names the line',
    async (marker) => {
      await using scope = new Scope()
      const file = await fileWith(scope, line('example.com') + line(`${marker} other.org`))
      await expect(readKnownHosts(lookupOf({ files: [file] }))).rejects.toMatchObject({
        code: 'HOST_KEY_UNREADABLE',
        message: `cannot read ${file}: line 2 has the marker ${marker}`,
        hint: expect.stringContaining('@revoked and @cert-authority') as string,
      })
    },
  )

  test('an RSA key counts as the same key with needless zeros in its numbers, as for ssh', async () => {
    await using dir = await TempDir.create()
    const file = join(dir.path, 'key')
    await execa('ssh-keygen', ['-q', '-t', 'rsa', '-b', '2048', '-N', '', '-f', file])
    const { stdout } = await execa('cat', [`${file}.pub`])
    const plain = blobIn(stdout)
    // ssh-rsa, then e: 00 00 00 03 01 00 01.
    const e = plain.subarray(4 + 7, 4 + 7 + 4 + 3)
    const padded = Buffer.concat([
      plain.subarray(0, 11),
      Buffer.from([0, 0, 0, 4, 0]),
      e.subarray(4),
      plain.subarray(18),
    ])
    expect(padded.equals(plain)).toBe(false)
    expect(await verdict(line('@revoked *', stdout), padded)).toBe('revoked')
    expect(await verdict(line('example.com', stdout), padded)).toBe('known')
  })

  test('looks a port other than 22 up by [host]:port, and an alias verbatim, never with a port', async () => {
    const at = { port: 2222 }
    expect(await verdict(line('[example.com]:2222'), ours.publicKeyBlob, at)).toBe('known')
    expect(await verdict(line('[example.com]:2222', other.publicKeyLine), ours.publicKeyBlob, at)).toBe(
      'changed',
    )
    expect(await verdict(line('[example.com]:2223'), ours.publicKeyBlob, at)).toBe('unknown')
    expect(await verdict(line('example.com:2222'), ours.publicKeyBlob, at)).toBe('unknown')
    const alias = { port: 2222, alias: 'The-Alias' }
    expect(await verdict(line('the-alias'), ours.publicKeyBlob, alias)).toBe('known')
    expect(await verdict(line(hashedName('The-Alias')), ours.publicKeyBlob, alias)).toBe('known')
    expect(await verdict(line('[the-alias]:2222,example.com'), ours.publicKeyBlob, alias)).toBe('unknown')
  })

  test('falls back to the name without the port only to accept, and only where nothing names it with the port', async () => {
    const at = { port: 2222 }
    expect(await verdict(line('example.com'), ours.publicKeyBlob, at)).toBe('known')
    expect(await verdict(line('example.com', other.publicKeyLine), ours.publicKeyBlob, at)).toBe('unknown')
    for (const named of ['[example.com]:2222', '@cert-authority [example.com]:2222']) {
      expect(
        await verdict(line(named, other.publicKeyLine) + line('example.com'), ours.publicKeyBlob, at),
      ).not.toBe('known')
    }
  })

  test.each([
    ['2001:DB8:0:0::1', '2001:db8::1'],
    ['::ffff:7f00:1', '::ffff:127.0.0.1'],
    ['fe80:0::1%eth0', 'fe80::1%eth0'],
  ])('an address is looked up as the system writes it: %s as %s', async (host, name) => {
    expect(await verdict(line(name), ours.publicKeyBlob, { host })).toBe('known')
    expect(await verdict(line(`[${name}]:2222`), ours.publicKeyBlob, { host, port: 2222 })).toBe('known')
  })

  test('never accepts a plain key by a certificate authority, and never takes the server for unknown', async () => {
    expect(await verdict(line('@cert-authority *.com'))).toBe('unknown-ca')
    expect(await verdict(line('@cert-authority *.com', other.publicKeyLine))).toBe('unknown-ca')
    expect(await verdict(line('@cert-authority *.org'))).toBe('unknown')
    const both = line('@cert-authority *.com') + line('example.com', other.publicKeyLine)
    expect(await verdict(both, blobIn(ecdsa))).toBe('changed')
  })

  test('reads several files, skips missing ones, names file and line, and tells what it could not read', async () => {
    await using dir = await TempDir.create()
    const at = (name: string) => join(dir.path, name)
    await writeFile(at('one'), `example.com ssh-foo AAAA\n${line('example.com', other.publicKeyLine)}`)
    await writeFile(at('two'), line('@revoked *', ecdsa))
    await writeFile(at('file'), '')
    await symlink(at('one'), at('link'))
    const files = [at('missing'), at('link'), join(at('file'), 'below'), '/dev/null', at('two')]
    const known = await readKnownHosts(lookupOf({ files }))
    const line2 = { file: at('link'), line: 2, type: 'ssh-ed25519' }
    expect(judge(known, ours.publicKeyBlob)).toMatchObject({ kind: 'changed', lines: [line2] })
    expect(judge(known, blobIn(ecdsa))).toMatchObject({
      kind: 'revoked',
      lines: [{ file: at('two'), line: 1 }],
    })
    expect(known.skipped).toEqual([{ file: at('link'), line: 1 }])
  })

  test.each([
    ['a directory', 'EISDIR', (path: string) => mkdir(path)],
    ['a FIFO', 'it is not a file', (path: string) => execa('mkfifo', [path])],
    ['a loop of links', 'ELOOP', (path: string) => symlink(path, path)],
    [
      'a line without end',
      'line 2 never ends',
      (path: string) => writeFile(path, `\n${'x'.repeat(2_000_000)}`),
    ],
  ])('that cannot be read is an error, not an empty file: %s', async (_, why, make) => {
    await using dir = await TempDir.create()
    const path = join(dir.path, 'known_hosts')
    await make(path)
    await expect(readKnownHosts(lookupOf({ files: [path] }))).rejects.toMatchObject({
      code: 'HOST_KEY_UNREADABLE',
      stage: 'host key',
      message: `cannot read ${path}: ${why}`,
    })
  })
})

describeWith(['sshd'], 'known_hosts as ssh-keygen hashes it', () => {
  test('is found by its names and by no other', async () => {
    await using scope = new Scope()
    const file = await fileWith(scope, line('example.com') + line('[example.com]:2222', other.publicKeyLine))
    await execa('ssh-keygen', ['-H', '-f', file])
    const judged = async (host: string, port: number, shown: Buffer) =>
      judge(await readKnownHosts(lookupOf({ files: [file], host, port })), shown).kind
    expect(await judged('example.com', 22, ours.publicKeyBlob)).toBe('known')
    expect(await judged('example.com', 22, other.publicKeyBlob)).toBe('changed')
    expect(await judged('example.com', 2222, other.publicKeyBlob)).toBe('known')
    expect(await judged('example.org', 22, ours.publicKeyBlob)).toBe('unknown')
  })
})
