import { chmod, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import type { Status } from '../../src/control/messages.js'
import { serveControl } from '../../src/control/server.js'
import { FakeService } from '../control/support.js'
import { Desk } from './support.js'

const CONFIG = `# mine
hosts:
  # the big one
  prod: {ssh: "ssh://deploy@prod.example:2222", tags: [eu, live], protected: true}

  lab: {ssh: lab}   # small
`

const configOf = (desk: Desk): string => join(desk.dir, '.config/dproxy/config.yaml')
const textOf = (desk: Desk): Promise<string> => readFile(configOf(desk), 'utf8')

test('the first host makes the file, for us alone, with the line that teaches editors', async () => {
  await using desk = await Desk.create()
  await rm(join(desk.dir, '.config'), { recursive: true })
  expect(await desk.runs('host', 'add', 'prod', 'ssh://me@prod.example')).toEqual({
    code: 0,
    out: '',
    err: `added prod to ${configOf(desk)}; start it: dproxy up prod\n`,
  })
  expect(await textOf(desk)).toMatch(/^# yaml-language-server: \$schema=file:.*config\.schema\.json\n/u)
  expect((await stat(configOf(desk))).mode & 0o777).toBe(0o600)
  expect((await stat(join(desk.dir, '.config/dproxy'))).mode & 0o777).toBe(0o700)
  expect((await desk.runs('status', '--json')).out).toContain('"name":"prod"')
})

test('every option of add stands in the file as the config calls it, with paths that work from anywhere', async () => {
  await using desk = await Desk.create(CONFIG)
  const words =
    'host add new prod-fra --identity-file keys/a --identity-file ~/.ssh/b --jump bastion,me@inner:22 --known-hosts kh ' +
    '--socket {runtime}/new.sock --remote-socket /run/docker.sock --tag eu --tag live --protected'
  expect((await desk.runs(...words.split(' '), '--description', 'Two: words # and more')).code).toBe(0)
  expect(await textOf(desk)).toBe(`${CONFIG}  new:
    ssh: prod-fra
    description: "Two: words # and more"
    tags: [eu, live]
    protected: true
    identityFile: [${desk.dir}/keys/a, ~/.ssh/b]
    knownHostsFile: ${desk.dir}/kh
    proxyJump: bastion,me@inner:22
    remoteSocket: /run/docker.sock
    socket: "{runtime}/new.sock"
`)
  expect(await desk.runs('host', 'rm', 'new', '--yes', '--quiet')).toEqual({ code: 0, out: '', err: '' })
  expect(await textOf(desk)).toBe(CONFIG)
})

test.each([
  ['PROD ssh://x', 'the name "PROD" is taken by "prod" on line 4 of '],
  ['a/b ssh://x', 'its name must begin with a letter or a digit'],
  ['a ssh://u:secret@x', 'ssh must not have a password'],
  ['a http://x', 'ssh must start with ssh://'],
  ['a x;y', 'ssh must not have ; in the host name'],
  ['a x --tag a,b', 'tags must begin with a letter or a digit'],
  ['a x --jump=-oProxyCommand=id', 'proxyJump must not have a host name that begins with "-"'],
  ['a x --remote-socket docker.sock', 'remoteSocket must be auto or an absolute path'],
  [
    'a x --socket /tmp/{nmae}.sock',
    'socket must not have the unknown placeholder {nmae}, did you mean "{name}"?',
  ],
  ['a x --socket /tmp/docker-lab.sock', 'has the same local socket as "lab"'],
  ['a x --tag', '--tag needs a value'],
  ['a', '<ssh> is missing: dproxy host add <name> <ssh>'],
  ['a x y', 'there is no option or word "y" here'],
])('`host add %s` is refused, and the file stays as it was', async (words, message) => {
  await using desk = await Desk.create(CONFIG)
  const { code, out, err } = await desk.runs('host', 'add', ...words.split(' '))
  expect({ code, out }).toEqual({ code: 2, out: '' })
  expect(err).toContain(message)
  expect(err).toMatch(/\n {2}next: .+\n$/u)
  expect(err).not.toContain('secret')
  expect(await textOf(desk)).toBe(CONFIG)
})

test('the file that is named is changed, and no other; its directory is not made', async () => {
  await using desk = await Desk.create(CONFIG)
  expect((await desk.runs('host', 'add', 'a', 'b', '--config', 'team.json')).code).toBe(0)
  expect(await readFile(join(desk.dir, 'team.json'), 'utf8')).toBe(
    '{\n  "hosts": {\n    "a": {\n      "ssh": "b"\n    }\n  }\n}\n',
  )
  desk.env.DPROXY_CONFIG = join(desk.dir, 'team.json')
  const { out } = await desk.runs('host', 'add', 'c', 'd', '--json')
  expect(JSON.parse(out)).toEqual({ schemaVersion: 1, file: join(desk.dir, 'team.json'), added: ['c'] })
  expect(await textOf(desk)).toBe(CONFIG)
  const { code, err } = await desk.runs('host', 'add', 'a', 'b', '--config', 'no/such/team.yaml')
  expect(code).toBe(1)
  expect(err).toContain(`next: mkdir -p ${desk.dir}/no/such`)
})

test('a file that others may write to is not added to', async () => {
  await using desk = await Desk.create(CONFIG)
  await chmod(configOf(desk), 0o666)
  const { code, err } = await desk.runs('host', 'add', 'a', 'b')
  expect(code).toBe(2)
  expect(err).toContain(`next: chmod go-w ${configOf(desk)}`)
  expect(await textOf(desk)).toBe(CONFIG)
})

test('show tells every default, and where each host is written', async () => {
  await using desk = await Desk.create(CONFIG)
  await writeFile(join(desk.dir, '.dproxyrc'), 'hosts:\n  ours:\n    ssh: ours\n')
  const { hosts } = JSON.parse((await desk.runs('host', 'show', '--json')).out) as { hosts: object[] }
  expect(hosts).toMatchObject([
    { name: 'ours', file: join(desk.dir, '.dproxyrc'), line: 2, ssh: 'ours' },
    {
      name: 'prod',
      file: configOf(desk),
      line: 4,
      ssh: 'ssh://deploy@prod.example:2222',
      tags: ['eu', 'live'],
      protected: true,
      socket: '/tmp/docker-prod.sock',
      remoteSocket: 'auto',
    },
    { name: 'lab', file: configOf(desk), line: 6, ssh: 'lab', protected: false },
  ])
  const { code, out } = await desk.runs('host', 'show', '@eu')
  expect(code).toBe(0)
  expect(out).toMatch(/^prod {2}.*config\.yaml:4\n {2}ssh +ssh:\/\/deploy@prod\.example:2222\n/u)
  expect(out).not.toContain('lab')
  expect(await desk.runs('host', 'show', 'prd')).toMatchObject({
    code: 2,
    out: '',
    err: expect.stringContaining('did you mean "prod"?'),
  })
})

test('rm shows what goes and asks; only yes removes it', async () => {
  await using desk = await Desk.create(CONFIG)
  desk.answer = 'n'
  const refused = await desk.runs('host', 'rm', 'prod')
  expect(refused).toMatchObject({ code: 1, out: '' })
  expect(refused.err).toBe(`these lines of ${configOf(desk)} go:
  # the big one
  prod: {ssh: "ssh://deploy@prod.example:2222", tags: [eu, live], protected: true}
prod is protected
dproxy: nothing was changed: the removal was not confirmed
`)
  expect(await textOf(desk)).toBe(CONFIG)
  desk.answer = 'y'
  expect((await desk.runs('host', 'rm', 'PROD', 'prod')).code).toBe(0)
  expect(await textOf(desk)).toBe('# mine\nhosts:\n\n  lab: {ssh: lab}   # small\n')
})

test('rm asks nobody who is not there, and needs a name', async () => {
  await using desk = await Desk.create(CONFIG)
  const { code, err } = await desk.runs('host', 'rm', 'prod')
  expect(code).toBe(2)
  expect(err).toContain('prod would be removed (prod is protected), and there is no terminal to ask at')
  expect(err).toContain('add --yes')
  const none = await desk.runs('host', 'rm', 'prod', '--yes', '--config', 'none/at/all.yaml')
  expect(none.code).toBe(2)
  expect(none.err).toContain(`there is no config file ${desk.dir}/none/at/all.yaml`)
  expect((await desk.runs('host', 'rm')).err).toContain('which host is to be removed?')
  expect((await desk.runs('host', 'rm', 'prd', '--yes')).err).toContain('did you mean "prod"?')
  expect((await desk.runs('host', 'rm', 'prd')).err).toMatch(/^dproxy: no host of .* is named "prd"/u)
  expect((await desk.runs('host', 'rm', 'lab', 'prd', '--yes')).code).toBe(2)
  expect(await textOf(desk)).toBe(CONFIG)
})

test('rm asks about nothing that is not there, and names hosts as the file does', async () => {
  await using desk = await Desk.create(CONFIG)
  desk.answer = 'y'
  const none = await desk.runs('host', 'rm', 'lab', 'prd')
  expect(none).toMatchObject({ code: 2, out: '' })
  expect(none.err).toMatch(/^dproxy: no host of .* is named "prd"; did you mean "prod"\?\n/u)
  const { err } = await desk.runs('host', 'rm', 'LAB', 'PROD')
  expect(err).toContain(`\nremoved lab and prod from ${configOf(desk)}\n`)
})

test("rm leaves a project's file alone, and says how it is meant", async () => {
  await using desk = await Desk.create(CONFIG)
  const project = join(desk.dir, '.dproxyrc')
  await writeFile(project, 'hosts:\n  ours: {ssh: ours}\n  more: {ssh: more}\n')
  const { code, err } = await desk.runs('host', 'rm', 'ours', '--yes')
  expect(code).toBe(2)
  expect(err).toContain(`"ours" is described in ${project}, line 2`)
  expect(err).toContain(`next: dproxy host rm ours --config ${project}`)
  expect((await desk.runs('host', 'rm', 'ours', '--yes', '--config', project)).code).toBe(0)
  expect(await readFile(project, 'utf8')).toBe('hosts:\n  more: {ssh: more}\n')
})

test('a host that runs is named, with the command that stops it', async () => {
  await using scope = new Scope()
  const desk = scope.use(await Desk.create(CONFIG))
  const service = new FakeService()
  const { hosts } = JSON.parse((await desk.runs('status', '--json')).out) as Status
  service.hosts = hosts.map((host) => (host.name === 'lab' ? { ...host, state: 'up' } : host))
  await mkdir(join(desk.dir, 'run'), { mode: 0o700 })
  scope.use(await serveControl(join(desk.dir, 'run/control.sock'), service, '1.2.3'))
  expect((await desk.runs('host', 'rm', 'lab')).err).toContain(
    '(lab is running, and goes on until: dproxy down lab)',
  )
  expect(await desk.runs('host', 'rm', 'lab', 'prod', '--yes')).toEqual({
    code: 0,
    out: '',
    err: `removed lab and prod from ${configOf(desk)}\nlab still runs; to stop it: dproxy down lab\n`,
  })
  expect(service.asked).toEqual([])
})
