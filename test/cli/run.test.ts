import { expect, test } from 'vitest'
import { COMMANDS, VERBS, verbOf } from '../../src/cli/table.js'
import { Desk } from './support.js'

const CONFIG = 'hosts:\n  prod: {ssh: prod.invalid, tags: [eu]}\n  staging: {ssh: staging.invalid}\n'
const SHOWN = COMMANDS.filter(({ summary }) => summary !== undefined)

test('every command is in the help, and has a help with examples of its own', async () => {
  await using desk = await Desk.create()
  const help = await desk.runs('--help')
  expect(help).toMatchObject({ code: 0, err: '' })
  for (const command of SHOWN) {
    const verb = verbOf(command)
    expect(help.out).toContain(`dproxy ${verb}`)
    const own = await desk.runs(verb, '--help')
    expect(own).toMatchObject({ code: 0, err: '' })
    expect(own.out).toContain(command.summary)
    expect(command.examples?.length, verb).toBeGreaterThan(0)
    for (const name of Object.keys(command.options ?? {})) expect(own.out).toContain(`--${name}`)
  }
  expect(help.out).not.toContain('__')
})

test('every example names a command and options that exist', () => {
  for (const command of SHOWN) {
    for (const [line] of command.examples ?? []) {
      const words = /dproxy ([^|)"]*)/u.exec(line)?.[1]?.trim().split(/\s+/u) ?? []
      expect(VERBS, line).toContain(words[0])
      const own = COMMANDS.find((each) => verbOf(each) === words[0])!
      const known = [...Object.keys(own.options ?? {}), 'json', 'quiet', 'config', 'no-color']
      for (const word of words.filter((each) => each.startsWith('--')))
        expect(known, line).toContain(word.slice(2))
    }
  }
})

test('a mistyped command is met with the nearest one', async () => {
  await using desk = await Desk.create()
  for (const verb of VERBS.filter((each) => each.length > 3)) {
    expect((await desk.runs(verb.slice(0, -1))).err).toContain(`did you mean "${verb}"?`)
  }
})

test('nothing at all shows the help and is wrong usage', async () => {
  await using desk = await Desk.create()
  const { code, out } = await desk.runs()
  expect(code).toBe(2)
  expect(out).toContain('dproxy COMMAND')
})

test('options stand before or after the words they belong to', async () => {
  await using desk = await Desk.create(CONFIG)
  const both = [await desk.runs('status', '--json', 'prod'), await desk.runs('--json', 'status', 'prod')]
  for (const { code, out } of both) {
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({ supervisor: null, hosts: [{ name: 'prod', state: 'stopped' }] })
  }
})

test('words after -- are words, never dropped', async () => {
  await using desk = await Desk.create(CONFIG)
  const { hosts } = JSON.parse((await desk.runs('status', '--json', '--', 'staging')).out) as {
    hosts: { name: string }[]
  }
  expect(hosts.map(({ name }) => name)).toEqual(['staging'])
  expect((await desk.runs('status', '--', '-rf')).err).toContain('no host is named "-rf"')
})

test('status knows names in any case, tags, and each host once', async () => {
  await using desk = await Desk.create(CONFIG)
  const named = async (...words: string[]) =>
    (
      JSON.parse((await desk.runs('status', '--json', ...words)).out) as { hosts: { name: string }[] }
    ).hosts.map(({ name }) => name)
  expect(await named()).toEqual(['prod', 'staging'])
  expect(await named('PROD', '@eu', 'prod')).toEqual(['prod'])
  expect(await named('staging', 'prod')).toEqual(['prod', 'staging'])
})

test('logs of a host that nobody knows are not silence', async () => {
  await using desk = await Desk.create(CONFIG)
  expect(await desk.runs('logs', 'prod')).toEqual({ code: 0, out: '', err: '' })
  const unknown = await desk.runs('logs', 'prd')
  expect(unknown).toMatchObject({ code: 2, out: '' })
  expect(unknown.err).toContain('no host is named "prd"; did you mean "prod"?')
})

test('following needs somebody to follow', async () => {
  await using desk = await Desk.create(CONFIG)
  expect(await desk.runs('logs', '-f')).toMatchObject({
    code: 5,
    out: '',
    err: expect.stringContaining('no supervisor is running'),
  })
})

test('with nothing running, down says so and is content', async () => {
  await using desk = await Desk.create(CONFIG)
  expect(await desk.runs('down')).toEqual({ code: 0, out: '', err: 'nothing is running\n' })
  expect(await desk.runs('down', '--all', '--quiet')).toEqual({ code: 0, out: '', err: '' })
  expect(await desk.runs('down', 'prod')).toEqual({ code: 0, out: '', err: 'prod is not running\n' })
  expect(await desk.runs('down', '--all', 'prod')).toMatchObject({ code: 2, out: '' })
  const { out } = await desk.runs('down', '--all', '--json')
  expect(JSON.parse(out)).toMatchObject({ schemaVersion: 1, supervisor: null, hosts: [], failures: [] })
})
