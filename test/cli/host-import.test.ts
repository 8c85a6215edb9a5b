import { execa } from 'execa'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { describeWith } from '../testbed/describe-with.js'
import { Desk } from './support.js'

const CONFIG = '# mine\nhosts:\n  prod: {ssh: prod}\n  taken: {ssh: elsewhere}\n'
const SSH = `
Host prod prod-1 prod-2 taken _odd
  HostName 10.0.0.1
Host lab
Host *.example.com
`

const configOf = (desk: Desk): string => join(desk.dir, '.config/dproxy/config.yaml')
const textOf = (desk: Desk): Promise<string> => readFile(configOf(desk), 'utf8')

const withSsh = async (text = SSH): Promise<Desk> => {
  const desk = await Desk.create(CONFIG)
  await mkdir(join(desk.dir, '.ssh'))
  await writeFile(join(desk.dir, '.ssh/config'), text)
  return desk
}

test('the aliases of ssh that match are added as aliases, and every other one is explained', async () => {
  await using desk = await withSsh()
  const { code, out, err } = await desk.runs('host', 'import', '--ssh-config', 'PROD*', 'taken', '_odd')
  expect(code).toBe(0)
  expect(out).toBe('HOST    SSH     REMOTE SOCKET\nprod-1  prod-1  –\nprod-2  prod-2  –\n')
  expect(err).toBe(`skipped prod: it is there already, on line 3 of ${configOf(desk)}
skipped taken: the name is taken by the host on line 4 of ${configOf(desk)}; --prefix gives others
skipped _odd: its name must begin with a letter or a digit and go on with at most 62 letters, digits, "_", "." or "-"
2 hosts added to ${configOf(desk)}, 3 skipped
`)
  expect(await textOf(desk)).toBe(`${CONFIG}  prod-1:\n    ssh: prod-1\n  prod-2:\n    ssh: prod-2\n`)
})

test('without a pattern the person is shown what there is, and asked', async () => {
  await using desk = await withSsh()
  desk.answer = 'n'
  const { code, out, err } = await desk.runs('host', 'import', '--ssh-config')
  expect(code).toBe(1)
  expect(out).toContain('prod-2')
  expect(err).toContain('nothing was changed: the import was not confirmed')
  expect(await textOf(desk)).toBe(CONFIG)
  desk.answer = 'y'
  expect((await desk.runs('host', 'import', '--ssh-config')).err).toContain('3 hosts added')
})

test('whoever is asked sees what about, also when standard output is for the one document', async () => {
  await using desk = await withSsh()
  desk.answer = 'y'
  const { code, out, err } = await desk.runs('host', 'import', '--ssh-config', '--json')
  expect(code).toBe(0)
  expect(err).toMatch(/^HOST .*\nprod-1 +prod-1 /u)
  expect(JSON.parse(out)).toMatchObject({ added: [{ name: 'prod-1' }, {}, {}], notes: [] })
  expect((await desk.runs('host', 'import', '--ssh-config', '--json', '--all')).err).toBe('')
})

test('off a terminal a pattern or --all is needed; a dry run changes nothing', async () => {
  await using desk = await withSsh()
  const { code, err } = await desk.runs('host', 'import', '--ssh-config')
  expect(code).toBe(2)
  expect(err).toContain('which of 3 hosts? There is no terminal to ask at')
  const dry = JSON.parse(
    (await desk.runs('host', 'import', '--ssh-config', '--dry-run', '--json')).out,
  ) as unknown
  expect(dry).toMatchObject({
    schemaVersion: 1,
    file: configOf(desk),
    dryRun: true,
    added: [
      { name: 'prod-1', ssh: 'prod-1' },
      { name: 'prod-2', ssh: 'prod-2' },
      { name: 'lab', ssh: 'lab' },
    ],
    skipped: [{ name: 'prod', known: true }, { name: 'taken' }, { name: '_odd' }],
  })
  expect((await desk.runs('host', 'import', '--ssh-config', '--dry-run')).err).toContain(
    '3 hosts would be added to',
  )
  expect(await textOf(desk)).toBe(CONFIG)
  expect((await desk.runs('host', 'import', '--ssh-config', '--all', '--prefix', 'x-')).code).toBe(0)
  const names = JSON.parse((await desk.runs('host', 'show', '--json')).out) as { hosts: { name: string }[] }
  expect(names.hosts.map(({ name }) => name)).toEqual([
    'prod',
    'taken',
    'x-prod',
    'x-prod-1',
    'x-prod-2',
    'x-taken',
    'x-_odd',
    'x-lab',
  ])
})

test('a second import adds nothing, and is content when everything is there', async () => {
  await using desk = await withSsh('Host prod lab\n')
  await desk.runs('host', 'import', '--ssh-config', '--all')
  const before = await textOf(desk)
  const { code, err } = await desk.runs('host', 'import', '--ssh-config', '--all')
  expect(code).toBe(0)
  expect(err).toContain('0 hosts added')
  expect(await textOf(desk)).toBe(before)
  await writeFile(join(desk.dir, '.ssh/config'), 'Host taken\n')
  expect((await desk.runs('host', 'import', '--ssh-config', '--all')).code).toBe(1)
})

test('another file is named by its path, and its aliases need ssh to know them', async () => {
  await using desk = await withSsh()
  await writeFile(join(desk.dir, 'team'), 'Host t-1 t-2\n')
  const { code, err } = await desk.runs('host', 'import', '--ssh-config', './team', 't-*')
  expect(code).toBe(0)
  expect(err).toContain(
    `ssh knows these hosts only once ${desk.dir}/.ssh/config says: Include ${desk.dir}/team`,
  )
  await writeFile(join(desk.dir, '.ssh/config'), `Include ${desk.dir}/team\n`)
  expect((await desk.runs('host', 'import', '--ssh-config', './team', 't-*')).err).not.toContain('Include')
})

test.each([
  ['', 'import from where?'],
  ['--ssh-config --docker-contexts', '--ssh-config and --docker-contexts are two imports'],
  ['--ssh-config --name x', '--name is for a single-host file'],
  ['--ssh-config nothing-like-it', 'matches nothing-like-it'],
  ['--ssh-config ./none', 'there is no ssh configuration at'],
  ['a.yaml b.yaml', 'one single-host file at a time'],
  ['none.yaml', 'there is no file'],
])('`host import %s` is refused with what to do next', async (words, message) => {
  await using desk = await withSsh()
  const { code, out, err } = await desk.runs(
    'host',
    'import',
    ...words.split(' ').filter((word) => word !== ''),
  )
  expect({ code, out }).toEqual({ code: 2, out: '' })
  expect(err).toContain(message)
  expect(err).toContain('  next: ')
  expect(await textOf(desk)).toBe(CONFIG)
})

test('a single-host file becomes a named host; its own place becomes a file of hosts', async () => {
  await using desk = await Desk.create(CONFIG)
  const single = join(desk.dir, 'old.yaml')
  await writeFile(single, '# old\nssh_host: box:2222\nssh_user: me\nssh_key_path: id\n')
  expect((await desk.runs('host', 'import', 'old.yaml', '--name', 'box')).code).toBe(0)
  expect(await textOf(desk)).toBe(
    `${CONFIG}  box:\n    ssh: ssh://me@box:2222\n    identityFile: ${desk.dir}/id\n`,
  )
  expect((await desk.runs('host', 'import', 'old.yaml', '--name', 'prod')).code).toBe(1)
  const { err } = await desk.runs('host', 'add', 'more', 'more', '--config', 'old.yaml')
  expect(err).toContain(
    `next: turn it into a file of hosts first: dproxy host import ${single} --config ${single}`,
  )
  expect((await desk.runs('host', 'import', single, '--config', single, '--name', 'box')).code).toBe(0)
  expect((await desk.runs('host', 'add', 'more', 'more', '--config', 'old.yaml')).code).toBe(0)
  expect(await readFile(single, 'utf8')).toContain('# ssh_user: me\n')
  expect((await desk.runs('host', 'show', '--config', single, '--json')).out).toMatch(/"box".*"more"/u)
})

describeWith(['docker'], 'from Docker', () => {
  test('contexts with an ssh:// address are added, those that are there already are not', async () => {
    await using desk = await Desk.create('hosts:\n  one: {ssh: "ssh://me@one"}\n')
    desk.env.PATH = process.env.PATH ?? ''
    desk.env.DOCKER_CONFIG = join(desk.dir, 'docker')
    const contexts = {
      one: 'ssh://me@one',
      two: 'ssh://me@two:2222/run/d.sock',
      'thr+ee': 'ssh://me@three',
      no: 'tcp://x:1',
    }
    for (const [name, host] of Object.entries(contexts))
      await execa('docker', ['context', 'create', name, '--docker', `host=${host}`], { env: desk.env })
    const { code, out, err } = await desk.runs('host', 'import', '--docker-contexts', '--all')
    expect(code).toBe(0)
    expect(out).toContain('two   ssh://me@two:2222  /run/d.sock\n')
    expect(err).toContain('skipped one: it is there already')
    expect(err).toContain('skipped thr+ee: its name must begin')
    expect(await textOf(desk)).toBe(
      'hosts:\n  one: {ssh: "ssh://me@one"}\n  two:\n    ssh: ssh://me@two:2222\n    remoteSocket: /run/d.sock\n',
    )
    desk.env.DOCKER_CONFIG = join(desk.dir, 'empty')
    expect(await desk.runs('host', 'import', '--docker-contexts')).toMatchObject({
      code: 2,
      err: expect.stringContaining('the Docker contexts name no host to import'),
    })
  })
})

test('a file that is named is read also where ssh has no configuration of its own', async () => {
  await using desk = await Desk.create()
  await writeFile(join(desk.dir, 'other'), 'Host box\n')
  const dry = await desk.runs('host', 'import', '--ssh-config', './other', '--all', '--dry-run')
  expect(dry).toMatchObject({ code: 0, out: expect.stringContaining('\nbox ') })
  expect(dry.err).toContain('note: ssh knows these hosts only once ')
  const none = await desk.runs('host', 'import', '--ssh-config', './missing', '--all')
  expect(none).toMatchObject({ code: 2, out: '' })
  expect(none.err).toContain(`there is no ssh configuration at ${desk.dir}/missing`)
})
