import { build } from 'esbuild'
import { execa } from 'execa'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import {
  addHosts,
  convertSingleHost,
  removalOf,
  removeHosts,
  replaceText,
} from '../../../src/registry/edit/edit.js'
import { Desk, failureOf } from '../support.js'

const ONE = 'hosts:\n  prod: {ssh: prod.example}\n'

const options = (desk: Desk) => ({ env: desk.env, others: [], schema: './config.schema.json' })
const named = (name: string, more: object = {}) => ({ name, entry: { ssh: `${name}.example`, ...more } })

test('a host is added and removed, and the file is then what it was', async () => {
  await using desk = await Desk.create()
  const file = await desk.write(desk.userConfig, ONE)
  expect(await addHosts(file, [named('lab')], options(desk))).toBe(file)
  expect((await desk.load()).hosts.map(({ name }) => name)).toEqual(['prod', 'lab'])
  await removeHosts(file, ['LAB'], desk)
  expect(await readFile(file, 'utf8')).toBe(ONE)
})

test('a file made anew loads, also once it is empty of hosts again', async () => {
  await using desk = await Desk.create()
  for (const name of ['config.yaml', 'config.json']) {
    const file = join(desk.home, name)
    await addHosts(file, [named('lab')], options(desk))
    expect((await desk.load(file)).hosts).toHaveLength(1)
    const text = await readFile(file, 'utf8')
    expect(text.startsWith('# yaml-language-server: $schema=')).toBe(name.endsWith('yaml'))
    await removeHosts(file, ['lab'], desk)
    expect((await desk.load(file)).hosts).toEqual([])
    await addHosts(file, [named('lab')], options(desk))
    expect(await readFile(file, 'utf8')).toBe(text)
  }
})

test.each([
  ['a taken name', 'PROD', {}, 'USAGE', 'the name "PROD" is taken by "prod" on line 2 of '],
  ['a name that is none', '../x', {}, 'USAGE', 'its name must begin with a letter or a digit'],
  ['an address with a password', 'a', { ssh: 'ssh://u:pw@h' }, 'USAGE', 'ssh must not have a password'],
  ['an option as a host', 'a', { ssh: '-oProxyCommand=x' }, 'USAGE', 'begins with "-"'],
  ['a tag that is none', 'a', { tags: ['a b'] }, 'USAGE', 'tags must begin with'],
  [
    'a relative remote socket',
    'a',
    { remoteSocket: 'x' },
    'USAGE',
    'remoteSocket must be auto or an absolute',
  ],
  [
    "another host's socket",
    'a',
    { socket: '/tmp/docker-prod.sock' },
    'CONFIG_INVALID',
    'same local socket as "prod"',
  ],
  ['a socket too long', 'a', { socket: `/${'x'.repeat(200)}` }, 'CONFIG_INVALID', 'hosts.a'],
  [
    'more text than a file may have',
    'a',
    { description: 'x'.repeat(300_000) },
    'CONFIG_INVALID',
    'larger than 256 KiB',
  ],
])('%s is refused, and nothing is written', async (_, name, more, code, message) => {
  await using desk = await Desk.create()
  const file = await desk.write(desk.userConfig, ONE)
  const failure = await failureOf(() => addHosts(file, [named('fine'), named(name, more)], options(desk)))
  expect(failure.code).toBe(code)
  expect(failure.message).toContain(message)
  expect(failure.message).not.toContain('pw@')
  expect(await readFile(file, 'utf8')).toBe(ONE)
})

test('of two new hosts with one name neither is written', async () => {
  await using desk = await Desk.create()
  const file = await desk.write(desk.userConfig, ONE)
  const { message } = await failureOf(() => addHosts(file, [named('a'), named('A')], options(desk)))
  expect(message).toContain('the name "A" is given to two hosts at once')
  expect(await readFile(file, 'utf8')).toBe(ONE)
})

test("a name or socket of a project's host is taken as well", async () => {
  await using desk = await Desk.create()
  const file = await desk.write(desk.userConfig, ONE)
  const { hosts } = await desk.loadText('hosts:\n  ours: {ssh: ours, socket: /tmp/ours.sock}\n')
  const others = hosts.map((host) => ({ host, file: '/project/.dproxyrc', line: 2 }))
  const add = (name: string, more: object) => () =>
    addHosts(file, [named(name, more)], { ...options(desk), others })
  expect((await failureOf(add('Ours', {}))).message).toContain('line 2 of /project/.dproxyrc')
  expect((await failureOf(add('a', { socket: '/tmp/ours.sock' }))).message).toContain(
    'same local socket as "ours" of /project/.dproxyrc',
  )
  expect(await readFile(file, 'utf8')).toBe(ONE)
})

test.each([
  ['hosts:\n  a: {ssh: a}\n  b: {shs: b}\n', 'line 3: hosts.b: unknown key "shs", did you mean "ssh"?'],
  ['hosts: [\n', 'is not valid YAML'],
  ['['.repeat(5000), 'nested'],
])('a file that does not load is told of, not added to: %j', async (text, message) => {
  await using desk = await Desk.create()
  const file = await desk.write(desk.userConfig, text)
  const failure = await failureOf(() => addHosts(file, [named('new')], options(desk)))
  expect(failure).toMatchObject({
    code: 'CONFIG_INVALID',
    hint: 'nothing was written; correct it first: dproxy host edit',
  })
  expect(failure.message).toContain(message)
  expect(await readFile(file, 'utf8')).toBe(text)
})

test('a faulty host can be removed, and then the file loads', async () => {
  await using desk = await Desk.create()
  const file = await desk.write(desk.userConfig, 'hosts:\n  a: {ssh: a}\n  b: {shs: b}\n')
  await removeHosts(file, ['b'], desk)
  expect((await desk.load()).hosts.map(({ name }) => name)).toEqual(['a'])
})

test('a host that is not there cannot be removed, nor any that was named beside it', async () => {
  await using desk = await Desk.create()
  const file = await desk.write(desk.userConfig, ONE)
  expect(await failureOf(() => removeHosts(file, ['prod', 'prdo'], desk))).toMatchObject({
    code: 'HOST_UNKNOWN',
    message: `no host of ${file} is named "prdo"; did you mean "prod"?`,
  })
  expect(await readFile(file, 'utf8')).toBe(ONE)
})

test('a single-host file takes no second host; turned into a file of hosts it does, and forgets nothing', async () => {
  await using desk = await Desk.create()
  const single = '# of old\nssh_host: box:2222\nssh_user: me\n'
  const file = await desk.write(desk.userConfig, single)
  expect(await failureOf(() => addHosts(file, [named('lab')], options(desk)))).toMatchObject({
    code: 'CONFIG_INVALID',
    hint: `turn it into a file of hosts first: dproxy host import ${file} --config ${file}`,
  })
  expect(await readFile(file, 'utf8')).toBe(single)
  await convertSingleHost(file, [{ name: 'box', entry: { ssh: 'ssh://me@box:2222' } }], options(desk))
  await addHosts(file, [named('lab')], options(desk))
  expect((await desk.load()).hosts.map(({ name }) => name)).toEqual(['box', 'lab'])
  expect(await readFile(file, 'utf8')).toContain('# # of old\n# ssh_host: box:2222\n# ssh_user: me\n')
})

test('an edited text replaces only the text that it was made of', async () => {
  await using desk = await Desk.create()
  const file = await desk.write(desk.userConfig, ONE)
  await writeFile(file, `${ONE}# theirs\n`)
  expect(await failureOf(() => replaceText(file, ONE, '# mine', desk.env))).toMatchObject({
    code: 'CONFIG_CHANGED',
  })
  expect(await readFile(file, 'utf8')).toBe(`${ONE}# theirs\n`)
})

test('two processes that add hosts at once lose none', async () => {
  await using desk = await Desk.create()
  const file = await desk.write(desk.userConfig, ONE)
  const bundle = join(desk.home, 'edit.cjs')
  await build({
    entryPoints: [fileURLToPath(new URL('../../../src/registry/edit/edit.ts', import.meta.url))],
    bundle: true,
    platform: 'node',
    format: 'cjs',
    outfile: bundle,
    logLevel: 'error',
  })
  const script = `
    const [, bundle, file, mark] = process.argv
    const { addHosts } = require(bundle)
    const options = { env: process.env, others: [], schema: '' }
    const all = async () => {
      for (let i = 0; i < 10; i += 1) await addHosts(file, [{ name: mark + i, entry: { ssh: 'x' } }], options)
    }
    all().catch((failure) => { console.error(failure); process.exitCode = 1 })`
  await Promise.all(['a', 'b'].map((mark) => execa('node', ['-e', script, bundle, file, mark])))
  const { hosts } = parse(await readFile(file, 'utf8')) as { hosts: object }
  const names = ['a', 'b'].flatMap((mark) => Array.from({ length: 10 }, (_, index) => `${mark}${index}`))
  expect(Object.keys(hosts).toSorted()).toEqual([...names, 'prod'].toSorted())
})

test.each([
  ['a host that is there', ONE, 'PROD', / host edit prod --config /u],
  ['a file that does not load', 'hosts:\n  a: {}\n', 'b', /correct it first: dproxy host edit --config /u],
  [
    'a file that is not changed',
    'hosts: &h\n  ? a\n  : ssh: a\n',
    'b',
    /by hand: dproxy host edit --config /u,
  ],
])(
  'the command to go on with, after %s, names the file that is not found by itself',
  async (_, text, name, next) => {
    await using desk = await Desk.create()
    const file = await desk.write(join(desk.home, 'my hosts.yaml'), text)
    const failure = await failureOf(() => addHosts(file, [named(name)], options(desk)))
    expect(failure.hint).toMatch(next)
    expect(failure.hint?.endsWith(` --config '${file}'`)).toBe(true)
  },
)

test('a single-host file with Windows line ends becomes comments, line for line', async () => {
  await using desk = await Desk.create()
  const file = await desk.write(desk.userConfig, 'ssh_host: h\r\nssh_user: u\r\n')
  await convertSingleHost(file, [named('old')], options(desk))
  expect((await readFile(file, 'utf8')).split('\n').slice(-4)).toEqual([
    '# Before:',
    '# ssh_host: h',
    '# ssh_user: u',
    '',
  ])
})

test('of two names that differ in letter case alone, the one that is spelled so is removed', async () => {
  await using desk = await Desk.create()
  const file = await desk.write(desk.userConfig, 'hosts:\n  a: {ssh: x}\n  A: {ssh: y}\n')
  await removeHosts(file, ['A'], desk)
  expect(await readFile(file, 'utf8')).toBe('hosts:\n  a: {ssh: x}\n')
})

test('hosts are not removed from a file that was changed since they were looked at', async () => {
  await using desk = await Desk.create()
  const file = await desk.write(desk.userConfig, ONE)
  const removal = await removalOf(file, ['PROD'], desk.env)
  expect(removal).toEqual({ before: ONE, names: ['prod'] })
  await writeFile(file, `${ONE}  # more of prod\n`)
  expect(
    await failureOf(() => removeHosts(file, ['PROD'], { env: desk.env, seen: removal.before })),
  ).toMatchObject({
    code: 'CONFIG_CHANGED',
  })
  expect(await readFile(file, 'utf8')).toBe(`${ONE}  # more of prod\n`)
})
