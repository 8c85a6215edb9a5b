import { execa } from 'execa'
import { expect, test } from 'vitest'
import { Desk } from './support.js'

const config = (socket: string) =>
  `hosts:\n  prod:\n    ssh: prod.invalid\n    socket: ${JSON.stringify(socket)}\n  lab: {ssh: lab.invalid}\n`

test.for([
  '/tmp/docker-prod.sock',
  '/tmp/with space.sock',
  "/tmp/it's.sock",
  '/tmp/$(touch pwned)`id`.sock',
  '/tmp/a;b&c|d>e.sock',
  '/tmp/back\\slash"quote.sock',
  '/tmp/ünïcode.sock',
])('what env prints for %j is taken by a shell as that path and nothing else', async (socket) => {
  await using desk = await Desk.create(config(socket))
  const { code, out } = await desk.runs('env', 'prod')
  expect(code).toBe(0)
  const shell = await execa('sh', ['-c', `${out}\nprintf %s "$DOCKER_HOST"`], { cwd: desk.dir })
  expect(shell.stdout).toBe(`unix://${socket}`)
})

test('the shell that is asked for, or else the login shell, gives the syntax', async () => {
  await using desk = await Desk.create(config("/tmp/it's\\here.sock"))
  const sh = String.raw`export DOCKER_HOST='unix:///tmp/it'\''s\here.sock'`
  const fish = String.raw`set -gx DOCKER_HOST 'unix:///tmp/it\'s\\here.sock'`
  const powershell = String.raw`$Env:DOCKER_HOST = 'unix:///tmp/it''s\here.sock'`
  expect((await desk.runs('env', 'prod')).out).toBe(`${sh}\n`)
  expect((await desk.runs('env', 'prod', '--shell', 'fish')).out).toBe(`${fish}\n`)
  expect((await desk.runs('env', 'prod', '--shell', 'powershell')).out).toBe(`${powershell}\n`)
  desk.env.SHELL = '/usr/local/bin/fish'
  expect((await desk.runs('env', 'prod')).out).toBe(`${fish}\n`)
  expect((await desk.runs('env', 'prod', '--shell', 'sh')).out).toBe(`${sh}\n`)
  expect(await desk.runs('env', 'prod', '--shell', 'csh')).toMatchObject({ code: 2, out: '' })
})

test('env never guesses: no host, two hosts and a host that is not there are refused', async () => {
  await using desk = await Desk.create(config('/tmp/x.sock'))
  for (const words of [[], ['prod', 'lab'], ['prd']]) {
    const { code, out, err } = await desk.runs('env', ...words)
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toMatch(/^dproxy: .+\n {2}next: .+\n$/u)
  }
})
