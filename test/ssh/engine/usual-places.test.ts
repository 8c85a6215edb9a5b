import { execa } from 'execa'
import { expect, test } from 'vitest'
import { LOOK_COMMAND, lookOf } from '../../../src/ssh/engine/usual-places.js'

const END = '@dproxy end\n'
const line = (state: string, what: string, path: string, real = '') =>
  `@dproxy ${state}\t${what}\t${path}\t${real}\n`

test('the command is one that every login shell reads alike', () => {
  const [, script = ''] = /^sh -c '(.*)'$/u.exec(LOOK_COMMAND) ?? []
  expect(script.length).toBeGreaterThan(0)
  // What ends the quotes anywhere, and what csh and fish find in them.
  expect(script).not.toMatch(/'|!|[\r\n]|\\\\/u)
})

test('the command says its places to the end where nothing at all is', async () => {
  const env = { PATH: process.env.PATH, HOME: '/nonexistent' }
  const { stdout, stderr } = await execa('sh', ['-c', LOOK_COMMAND], { env, extendEnv: false })
  expect(stderr).toBe('')
  const look = lookOf(`${stdout}\n`)
  expect(look?.places[0]?.path).toBe('/var/run/docker.sock')
  expect(look?.places.map(({ path }) => path)).toContain('/nonexistent/.rd/docker.sock')
  expect(look?.named).toBeUndefined()
})

test('what did not come to its end says nothing', () => {
  const one = line('listening', '0', '/var/run/docker.sock')
  expect(lookOf('')).toBeUndefined()
  expect(lookOf(one)).toBeUndefined()
  expect(lookOf(END)).toBeUndefined()
  expect(lookOf(one + END)?.places).toHaveLength(1)
  expect(lookOf(`Welcome!\n${one}${END}see you`)?.places).toHaveLength(1)
})

test('paths that are none, or that a terminal would obey, are passed over', () => {
  const usual = line('missing', '0', '/var/run/docker.sock')
  const odd = ['', 'relative', '/x\u001b[31m', `/${'x'.repeat(5000)}`, '/\u202egnp.sock']
  for (const path of odd) expect(lookOf(usual + line('listening', '1', path) + END)?.places).toHaveLength(1)
  const told = `@dproxy host\tunix:///x\u001b[31m\n${line('listening', 'named', '/x\u001b[31m')}`
  expect(lookOf(told + usual + END)?.named).toEqual({
    by: 'DOCKER_HOST',
    url: String.raw`unix:///x\x1b[31m`,
    place: undefined,
  })
})

test("what only says Docker's default is not taken for a choice of its own", () => {
  const usual = line('missing', '0', '/var/run/docker.sock')
  const named = (by: string, url: string) => lookOf(`@dproxy ${by}\t${url}\n${usual}${END}`)?.named
  expect(named('host', '')).toBeUndefined()
  expect(named('host', 'unix://')).toBeUndefined()
  expect(named('context', 'unix:///var/run/docker.sock')).toBeUndefined()
  expect(named('host', 'unix:///var/run/docker.sock')).toMatchObject({ by: 'DOCKER_HOST' })
  expect(named('context', 'ssh://other')).toMatchObject({ by: "Docker's current context" })
})
