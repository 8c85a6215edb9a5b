import { expect, test } from 'vitest'
import { commandNamed, verbOf, wordsFor, type Command } from '../../src/cli/command.js'
import { COMMANDS, VERBS } from '../../src/cli/table.js'
import { Desk } from './support.js'

const CONFIG = 'hosts:\n  prod: {ssh: prod.invalid, tags: [eu]}\n  staging: {ssh: staging.invalid}\n'

/** Every command that a person may type, with the words that name it. */
const shownBelow = (commands: readonly Command[], above: string[] = []): [string[], Command][] =>
  commands
    .filter(({ summary }) => summary !== undefined)
    .flatMap((command) => {
      const path = [...above, verbOf(command)]
      return [[path, command], ...shownBelow(command.subcommands ?? [], path)]
    })
const SHOWN = shownBelow(COMMANDS)

test('every command is in the help, and has a help with examples of its own', async () => {
  await using desk = await Desk.create()
  for (const [path, command] of SHOWN) {
    const above = await desk.runs(...path.slice(0, -1), '--help')
    expect(above).toMatchObject({ code: 0, err: '' })
    expect(above.out).toContain(`dproxy ${path.join(' ')}`)
    const own = await desk.runs(...path, '--help')
    expect(own).toMatchObject({ code: 0, err: '' })
    expect(own.out).toContain(command.summary)
    expect(command.examples?.length, path.join(' ')).toBeGreaterThan(0)
    for (const name of Object.keys(command.options ?? {})) expect(own.out).toContain(`--${name}`)
  }
  expect((await desk.runs('--help')).out).not.toContain('__')
})

test('every example names a command and options that exist', () => {
  for (const [, command] of SHOWN) {
    for (const [line] of command.examples ?? []) {
      const words = /dproxy ([^|)"]*)/u.exec(line)?.[1]?.trim().split(/\s+/u) ?? []
      let own = commandNamed(COMMANDS, words[0])
      if (own?.subcommands) own = commandNamed(own.subcommands, words[1])
      expect(own?.summary, line).toBeDefined()
      const known = [...Object.keys(own?.options ?? {}), 'json', 'quiet', 'config', 'no-color']
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
  for (const [path, { subcommands = [] }] of SHOWN) {
    for (const verb of wordsFor(subcommands).filter((each) => each.length > 3)) {
      expect((await desk.runs(...path, verb.slice(0, -1))).err).toContain(`did you mean "${verb}"?`)
    }
  }
})

test('a verb that needs another one shows its help without it, and is wrong usage', async () => {
  await using desk = await Desk.create()
  for (const [path] of SHOWN.filter(([, { subcommands }]) => subcommands)) {
    const { code, out, err } = await desk.runs(...path)
    expect({ code, err }).toEqual({ code: 2, err: '' })
    expect(out).toBe((await desk.runs(...path, '--help')).out)
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

test.each([
  ['trust', '<name> is missing: dproxy trust <name>', 'for example: dproxy trust prod'],
  ['secret set', '<name> is missing: dproxy secret set <name>', 'for example: dproxy secret set prod'],
  ['host add', '<name> is missing: dproxy host add <name> <ssh>', 'for example: dproxy host add '],
  ['host add a', '<ssh> is missing: dproxy host add <name> <ssh>', 'for example: dproxy host add '],
])('`%s` without all of its words says which is missing, and shows how', async (words, what, hint) => {
  await using desk = await Desk.create(CONFIG)
  const { code, out, err } = await desk.runs(...words.split(' '))
  expect({ code, out }).toEqual({ code: 2, out: '' })
  expect(err.startsWith(`dproxy: ${what}\n  next: ${hint}`)).toBe(true)
})

test('of many hosts that a word could mean the first ten are named', async () => {
  const names = 'abcdefghijkl'.split('')
  await using desk = await Desk.create(`hosts: {${names.map((name) => `${name}: {ssh: x}`).join(', ')}}\n`)
  const ten = 'a, b, c, d, e, f, g, h, i, j and 2 more'
  for (const words of [
    ['status', 'zzzz'],
    ['down', 'zzzz'],
    ['up', 'zzzz'],
    ['host', 'rm', 'zzzz'],
    ['secret', 'set', 'zzzz'],
  ])
    expect(await desk.runs(...words)).toMatchObject({ code: 2, err: expect.stringContaining(ten) })
})
