import { execa } from 'execa'
import { mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { sshConfigHosts } from '../../../src/registry/import/ssh-config.js'
import { lineWords } from '../../../src/registry/import/ssh-config-line.js'
import { isPattern, matches } from '../../../src/registry/import/wildcard.js'
import { Desk, failureOf } from '../support.js'

const aliasesIn = async (desk: Desk, text: string): Promise<string[]> => {
  const file = await desk.write(join(desk.home, '.ssh/config'), text)
  return (await sshConfigHosts(file, desk.env)).hosts.map(({ name }) => name)
}

test('every alias of a Host line is a host, and no pattern is', async () => {
  await using desk = await Desk.create()
  const text = `
Host prod prod-2 *.example.com !bad
  HostName 10.0.0.1
host=lower
HOST = "quoted" # comment
\tHost\ttabbed 'single'
Host *
  User me
# Host commented
HostName not-a-host
Hostage neither
Host prod
`
  expect(await aliasesIn(desk, text)).toEqual(['prod', 'prod-2', 'lower', 'quoted', 'tabbed', 'single'])
})

test('Windows line ends and a missing last newline change nothing', async () => {
  await using desk = await Desk.create()
  expect(await aliasesIn(desk, 'Host a b\r\n  User x\r\nHost c')).toEqual(['a', 'b', 'c'])
})

test('included files are read where they stand: by name, by pattern, from ~/.ssh, home and environment', async () => {
  await using desk = await Desk.create()
  for (const name of ['one', 'conf.d/b', 'conf.d/a', 'conf.d/.hidden', 'conf.d/c.txt'])
    await desk.write(join(desk.home, '.ssh', name), `Host ${name.replaceAll(/[/.]/gu, '-')}\n`)
  await desk.write(join(desk.home, 'elsewhere'), 'Host elsewhere\n')
  const env = { ...desk.env, TEAM: join(desk.home, 'elsewhere') }
  const file = await desk.write(
    join(desk.home, '.ssh/config'),
    'Host first\nMatch all\nInclude one conf.d/?\nInclude ~/.ssh/conf.d/*.txt ${TEAM} nothing-there\nHost last\n',
  )
  const { hosts, notes } = await sshConfigHosts(file, env)
  expect(hosts.map(({ name }) => name)).toEqual([
    'first',
    'one',
    'conf-d-a',
    'conf-d-b',
    'conf-d-c-txt',
    'elsewhere',
    'last',
  ])
  expect(notes).toEqual([])
})

test('what is included below a Host or Match holds only for what that is about', async () => {
  await using desk = await Desk.create()
  await desk.write(join(desk.home, '.ssh/inner'), 'Host eu-1 us-1\n')
  expect(await aliasesIn(desk, 'Host eu-*\n  Include inner\n')).toEqual(['eu-1'])
  expect(await aliasesIn(desk, 'Host * !eu-*\n  Include inner\n')).toEqual(['us-1'])
  expect(await aliasesIn(desk, 'Match exec "touch pwned"\n  Include inner\n')).toEqual([])
})

test('files that include each other are read once, and a chain without end stops', async () => {
  await using desk = await Desk.create()
  await desk.write(join(desk.home, '.ssh/other'), 'Host b\nMatch all\nInclude config\nInclude other\n')
  expect(await aliasesIn(desk, 'Host a\nMatch all\nInclude other\nInclude other\n')).toEqual(['a', 'b'])
  for (let level = 0; level < 20; level += 1)
    await desk.write(join(desk.home, `.ssh/l${level}`), `Host h${level}\nMatch all\nInclude l${level + 1}\n`)
  const { hosts, notes } = await sshConfigHosts(join(desk.home, '.ssh/l0'), desk.env)
  expect(hosts).toHaveLength(17)
  expect(notes).toEqual([`${join(desk.home, '.ssh/l16')} includes more than 16 levels of files`])
})

test('what is no file of text is told, whether named or included; nothing is waited for', async () => {
  await using desk = await Desk.create()
  const ssh = join(desk.home, '.ssh')
  await mkdir(join(ssh, 'dir'), { recursive: true })
  await execa('mkfifo', [join(ssh, 'fifo')])
  await desk.write(join(ssh, 'big'), `#${'x'.repeat(1024 * 1024)}`)
  await symlink('/dev/zero', join(ssh, 'zero'))
  for (const name of ['dir', 'fifo', 'zero'])
    expect((await failureOf(() => sshConfigHosts(join(ssh, name), desk.env))).message).toContain(
      'is not a regular file',
    )
  expect(await failureOf(() => sshConfigHosts(join(ssh, 'none'), desk.env))).toMatchObject({
    code: 'CONFIG_MISSING',
  })
  const file = await desk.write(join(ssh, 'config'), 'Include dir fifo big\nHost a\n')
  const { hosts, notes } = await sshConfigHosts(file, desk.env)
  expect(hosts.map(({ name }) => name)).toEqual(['a'])
  expect(notes.map((note) => note.slice(note.indexOf(' is ')))).toEqual([
    ' is not a regular file',
    ' is not a regular file',
    ' is larger than 1 MiB',
  ])
})

test.each([
  ['Host a b', ['Host', 'a', 'b']],
  ['  Host=a', ['Host', 'a']],
  ['Host = a', ['Host', 'a']],
  ['Host "a b" c', ['Host', 'a b', 'c']],
  ['Host "a\\"b"', ['Host', 'a"b']],
  ['Host a#b # c', ['Host', 'a#b']],
  ['Host "unfinished', ['Host', 'unfinished']],
  ['Host', ['Host']],
  ['# Host a', []],
  ['', []],
  ['   \r', []],
])('the line %j has the words %j', (line, words) => {
  expect(lineWords(line)).toEqual(words)
})

test.each([
  ['*', '', true],
  ['*', 'anything', true],
  ['prod-*', 'prod-1', true],
  ['prod-*', 'prod', false],
  ['*a*b*', 'xxaxxbxx', true],
  ['*a*b', 'xxaxxbxx', false],
  ['?', '', false],
  ['a?c', 'abc', true],
  ['a.c', 'abc', false],
  ['', '', true],
])('the pattern %j matches %j: %j', (pattern, text, expected) => {
  expect(matches(pattern, text)).toBe(expected)
})

test('no pattern takes longer than its length times that of the text', () => {
  const started = performance.now()
  expect(matches('a*'.repeat(200), `${'a'.repeat(5000)}b`)).toBe(true)
  expect(matches(`${'*a'.repeat(200)}c`, 'a'.repeat(5000))).toBe(false)
  expect(performance.now() - started).toBeLessThan(500)
  expect([isPattern('a'), isPattern('a*'), isPattern('?')]).toEqual([false, true, true])
})
