import { expect, test } from 'vitest'
import { HOST_DEFAULTS, type Host } from '../../src/registry/host.js'
import type { Registry } from '../../src/registry/load.js'
import { selectHosts } from '../../src/registry/select.js'
import { failureOf } from './support.js'

const host = (name: string, ...tags: string[]): Host => ({
  ...HOST_DEFAULTS,
  name,
  typed: name,
  tags,
  destination: name,
  user: null,
  port: null,
  socket: `/tmp/docker-${name}.sock`,
})

const registry = (...hosts: Host[]): Registry => ({ files: [], hosts })
const three = registry(host('prod', 'eu', 'live'), host('staging', 'EU'), host('lab'))

const namesOf = (words: string[], all = false): string[] =>
  selectHosts(three, words, { all }).map(({ name }) => name)

test('names choose hosts in their own order, each once, in any letter case', () => {
  expect(namesOf(['lab', 'PROD', 'lab', 'prod'])).toEqual(['lab', 'prod'])
})

test('a tag chooses its group in the order of the registry, beside names', () => {
  expect(namesOf(['@eu'])).toEqual(['prod', 'staging'])
  expect(namesOf(['staging', '@eu', '@LIVE'])).toEqual(['staging', 'prod'])
})

test('--all chooses every host, and takes no names beside it', async () => {
  expect(namesOf([], true)).toEqual(['prod', 'staging', 'lab'])
  expect((await failureOf(() => namesOf(['lab'], true))).code).toBe('USAGE')
})

test('without words the only host is meant; among several the user is asked', async () => {
  expect(selectHosts(registry(host('one')), [], { all: false })).toHaveLength(1)
  const failure = await failureOf(() => namesOf([]))
  expect(failure.code).toBe('USAGE')
  expect(failure.message).toBe('which host? There are prod, staging and lab')
  expect(failure.hint).toContain('--all')
})

test.each([
  [[], false],
  [[], true],
  [['prod'], false],
] as [string[], boolean][])(
  'without any host, %j with --all %j says how to make a config',
  async (words, all) => {
    const env = { XDG_CONFIG_HOME: '/home/me/.conf' }
    const failure = await failureOf(() => selectHosts(registry(), words, { all, env }))
    expect(failure).toMatchObject({ code: 'CONFIG_MISSING', message: 'no host is configured' })
    expect(failure.hint).toContain('/home/me/.conf/dproxy/config.yaml')
    expect(failure.hint).toContain('hosts:\n  prod:\n    ssh: ssh://')
  },
)

test('without any host, the file that was read is the one to write', async () => {
  const empty = { files: ['/work/mine.yaml'], hosts: [] }
  const failure = await failureOf(() => selectHosts(empty, [], { all: false, env: {} }))
  expect(failure.hint).toContain('write /work/mine.yaml, for example:')
})

test('an unknown name gets the nearest one and the list', async () => {
  const near = await failureOf(() => namesOf(['prdo']))
  expect(near.code).toBe('HOST_UNKNOWN')
  expect(near.message).toBe('no host is named "prdo"; did you mean "prod"?')
  expect(near.hint).toBe('the hosts are prod, staging and lab')
  const far = await failureOf(() => namesOf(['prod', 'zzzzzz\u001b[2J']))
  expect(far.message).toBe(String.raw`no host is named "zzzzzz\x1b[2J"`)
})

test('an unknown tag gets the nearest one and the list', async () => {
  const near = await failureOf(() => namesOf(['@liev']))
  expect(near.code).toBe('HOST_UNKNOWN')
  expect(near.message).toBe('no host has the tag "@liev"; did you mean "@live"?')
  expect(near.hint).toBe('the tags are @eu, @live and @EU')
  const none = await failureOf(() => selectHosts(registry(host('one')), ['@'], { all: false }))
  expect(none).toMatchObject({ message: 'no host has the tag "@"', hint: 'no host has a tag' })
})

test('of many hosts or tags the first ten are named, and the others counted', async () => {
  const letters = 'abcdefghijklmno'.split('')
  const many = registry(...letters.map((name) => host(name, `t${name}`)))
  const ten = 'a, b, c, d, e, f, g, h, i, j'
  const unknown = await failureOf(() => selectHosts(many, ['zzzz'], { all: false }))
  expect(unknown.hint).toBe(`the hosts are ${ten} and 5 more`)
  const none = await failureOf(() => selectHosts(many, [], { all: false }))
  expect(none.message).toBe(`which host? There are ${ten} and 5 more`)
  const tag = await failureOf(() => selectHosts(many, ['@zzzz'], { all: false }))
  expect(tag.hint).toMatch(/^the tags are @ta, .*, @tj and 5 more$/u)
  const exactly = registry(...many.hosts.slice(0, 10))
  const all = await failureOf(() => selectHosts(exactly, ['zzzz'], { all: false }))
  expect(all.hint).toBe('the hosts are a, b, c, d, e, f, g, h, i and j')
})
