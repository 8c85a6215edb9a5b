import { execa } from 'execa'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { describeWith } from '../testbed/describe-with.js'
import { Sshd } from '../testbed/sshd.js'
import { Desk } from './support.js'

/** A server with one host key, and a desk at which nothing is known of it. */
const setUp = async (scope: Scope) => {
  const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'] }))
  const desk = scope.use(await Desk.create())
  const knownHosts = join(desk.dir, 'known_hosts')
  const entry = { ssh: `ssh://${sshd.user}@127.0.0.1:${sshd.port}`, knownHostsFile: knownHosts }
  await writeFile(join(desk.dir, '.config/dproxy/config.yaml'), JSON.stringify({ hosts: { prod: entry } }))
  const { stdout } = await execa('ssh-keygen', ['-lf', '-'], { input: sshd.hostKeys.join('\n') })
  return { desk, sshd, knownHosts, fingerprint: stdout.split(' ')[1]! }
}

describeWith(['sshd'], 'dproxy trust', () => {
  test.each([['--json'], ['--quiet']])(
    'shows the key to whoever is asked about it, with %s, too',
    async (option) => {
      await using scope = new Scope()
      const { desk, knownHosts, fingerprint } = await setUp(scope)
      desk.answer = 'no'
      const refused = await desk.runs('trust', 'prod', option)
      expect(refused).toMatchObject({ code: 4, out: '' })
      expect(refused.err).toContain(`shown  ssh-ed25519  ${fingerprint}\n`)
      expect(existsSync(knownHosts)).toBe(false)
      desk.answer = 'yes'
      expect((await desk.runs('trust', 'prod', option)).code).toBe(0)
      expect(await readFile(knownHosts, 'utf8')).toMatch(/^\[127\.0\.0\.1\]:\d+ ssh-ed25519 /u)
    },
  )

  test('says nothing but the document, or nothing at all, where nobody is asked', async () => {
    await using scope = new Scope()
    const { desk, fingerprint } = await setUp(scope)
    const trust = (...words: string[]) => desk.runs('trust', 'prod', '--fingerprint', fingerprint, ...words)
    expect(await trust('--quiet')).toEqual({ code: 0, out: '', err: '' })
    expect(await trust('--quiet')).toEqual({ code: 0, out: '', err: '' })
    const { out, err } = await trust('--json')
    expect(err).toBe('')
    expect(JSON.parse(out)).toMatchObject({ verdict: 'known', key: { type: 'ssh-ed25519', fingerprint } })
  })

  test('a fingerprint that is not that of the key is refused, even where the key is known', async () => {
    await using scope = new Scope()
    const { desk, sshd, knownHosts, fingerprint } = await setUp(scope)
    await writeFile(knownHosts, await readFile(sshd.knownHostsFile))
    const refused = await desk.runs('trust', 'prod', '--fingerprint', 'SHA256:other')
    expect(refused.code).toBe(4)
    expect(refused.err).toContain(`the server showed ${fingerprint}, not SHA256:other`)
  })
})

test('trust is about one host: a tag of several is refused before anything is dialled', async () => {
  await using desk = await Desk.create('hosts:\n  a: {ssh: a, tags: [eu]}\n  b: {ssh: b, tags: [eu]}\n')
  expect(await desk.runs('trust', '@eu')).toEqual({
    code: 2,
    out: '',
    err: 'dproxy: @eu means a and b, and each has its own key\n  next: name one of them: dproxy trust a\n',
  })
})
