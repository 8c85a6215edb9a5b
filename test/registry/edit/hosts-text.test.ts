import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { readDocument } from '../../../src/registry/document.js'
import type { NewHost } from '../../../src/registry/edit/entry.js'
import * as edits from '../../../src/registry/edit/hosts-text.js'
import { failureOf } from '../support.js'

const withHosts = (text: string, added: readonly NewHost[]): string =>
  provenText(edits.withHosts(text, added))
const withoutHosts = (text: string, names: readonly string[]): string =>
  provenText(edits.withoutHosts(text, names))
const provenText = (changed: edits.Changed): string => edits.proven(changed, readDocument(changed.text))

const NEW = { name: 'new', entry: { ssh: 'ssh://me@new.example:22', tags: ['eu', 'live'], protected: true } }

const CAREFUL = `# yaml-language-server: $schema=./config.schema.json

# My machines
socket:   "/tmp/{name}.sock"   # odd spacing
hosts:
  # the first
  prod:
    ssh: 'prod-fra'   # single quotes

    tags: [ eu,live ]
    # more of prod

  "lab":   {ssh: lab}
  # a commented host:
  # old: {ssh: old}

# what holds for all
defaults: {connectTimeout: 3s}
`

const FILES: Record<string, string> = {
  'comments, odd spacing and blank lines': CAREFUL,
  'no newline at its end': 'hosts:\n  a: {ssh: a}',
  'blank lines at its end': 'hosts:\n  a:\n    ssh: a\n\n\n',
  'Windows line ends': 'hosts:\r\n  a:\r\n    ssh: a # c\r\n\r\ndefaults: {}\r\n',
  'Windows line ends and none at its end': '# x\r\nhosts:\r\n  a:\r\n    ssh: a',
  'an indentation of four': 'hosts:\n    a:\n        ssh: a\n',
  'an indentation of one': 'hosts:\n a:\n  ssh: a\n',
  'hosts that are not indented further than one list':
    'hosts:\n  a:\n    ssh: a\n    tags:\n    - x\n    - y\n',
  'a text block at its end': 'hosts:\n  a:\n    ssh: a\n    description: |\n      one\n      two\n',
  'a text block that keeps its blank lines':
    'hosts:\n  a:\n    ssh: a\n    description: |+\n      one\n\n\ndefaults: {}\n',
  'a document start and end': '---\nhosts:\n  a: {ssh: a}\n...\n',
  'anchors and aliases':
    'hosts:\n  a: &a {ssh: a, keepAlive: &k {interval: 1m}}\n  b: {ssh: b, keepAlive: *k}\n',
  'a first line that is empty': '\nhosts:\n  a:\n    ssh: a\n',
  'names that look like numbers': 'hosts:\n  "1.0": {ssh: a}\n  7: {ssh: b}\n',
  'a name in quotes with an anchor': 'hosts:\n  "a": &x\n    ssh: a\n',
  'a last host with a value that is a folded text':
    'hosts:\n  a:\n    ssh: a\n    description: one\n      two\n',
  'no hosts in braces': 'hosts: {}\n',
  'no hosts in braces and a comment': 'socket: /tmp/{name}.sock\nhosts: {} # none yet\n# end\ndefaults: {}\n',
  'JSON on lines': '{\n  "$schema": "./x.json",\n  "hosts": {\n    "a": {\n      "ssh": "a"\n    }\n  }\n}\n',
  'JSON indented by tabs': '{\n\t"hosts": {\n\t\t"a": {"ssh": "box"},\n\t\t"b": {"ssh": "box2"}\n\t}\n}\n',
  'JSON on one line': '{"hosts":{"a":{"ssh":"a"}}}',
  'JSON with its brace behind the last host': '{"hosts": {\n  "a": {"ssh": "a"}}}\n',
  'JSON without hosts': '{"hosts": {}}\n',
  'JSON on lines without hosts': '{\n  "hosts": {},\n  "defaults": {}\n}\n',
  'JSON with Windows line ends': '{\r\n  "hosts": {\r\n    "a": {"ssh": "a"}\r\n  }\r\n}\r\n',
  'braces with comments': 'hosts: {\n  a: {ssh: a}, # first\n  b: {ssh: b} # last\n}\n',
  'braces with a comma behind the last': 'hosts: {\n  a: {ssh: a},\n  b: {ssh: b}, # last\n}\n',
  'braces on one line': 'hosts: {a: {ssh: a}, b: {ssh: b}} # both\n',
  'braces on one line with a comma behind the last': 'hosts: {a: {ssh: a},}\n',
}

test.each(Object.entries(FILES))(
  'a host added to a file with %s and removed again leaves no trace',
  (_, text) => {
    const more = withHosts(text, [NEW])
    const { hosts, ...rest } = parse(more) as { hosts: Record<string, unknown> }
    const { hosts: before, ...restBefore } = parse(text) as { hosts: Record<string, unknown> }
    expect({ hosts, rest }).toEqual({ hosts: { ...before, new: NEW.entry }, rest: restBefore })
    expect(withoutHosts(more, ['NEW'])).toBe(text)
  },
)

test.each(Object.entries(FILES))(
  'every line of a file with %s is still there after an addition',
  (_, text) => {
    const lines = new Set(withHosts(text, [NEW]).split('\n'))
    const changed = text.split('\n').filter((line) => !lines.has(line))
    // In braces the line before gets a comma; `{}` and a file on one line cannot stay as they are.
    expect(changed.length).toBeLessThanOrEqual(1)
  },
)

test('a host is written as its neighbours are', () => {
  expect(withHosts(CAREFUL, [NEW])).toContain(`
  "lab":   {ssh: lab}
  new:
    ssh: ssh://me@new.example:22
    tags: [eu, live]
    protected: true
  # a commented host:
`)
  expect(withHosts('hosts:\n    a:\n        ssh: a\n', [NEW])).toContain('\n    new:\n        ssh: ')
  expect(withHosts('{\n\t"hosts": {\n\t\t"a": {\n\t\t\t"ssh": "a"\n\t\t}\n\t}\n}\n', [NEW])).toBe(
    `{\n\t"hosts": {\n\t\t"a": {\n\t\t\t"ssh": "a"\n\t\t},\n\t\t"new": ${JSON.stringify(NEW.entry, null, '\t').replaceAll('\n', '\n\t\t')}\n\t}\n}\n`,
  )
  expect(withHosts('{"hosts":{"a":{"ssh":"a"}}}', [NEW])).toBe(
    '{"hosts":{"a":{"ssh":"a"}, "new": {"ssh": "ssh://me@new.example:22", "tags": ["eu", "live"], "protected": true}}}',
  )
})

test('several hosts stand in the order in which they were given, even with names that look like numbers', () => {
  const added = ['z', '10', 'a', '9'].map((name) => ({ name, entry: { ssh: `host-${name}` } }))
  for (const text of ['hosts: {}\n', '# none\n', '', 'hosts:\n', '{"hosts": {}}', '{\n  "hosts": {}\n}\n']) {
    const places = added.map(({ name }) => withHosts(text, added).indexOf(`host-${name}`))
    expect(places).toEqual(places.toSorted((a, b) => a - b))
    expect(Object.keys(parse(withHosts(text, added)).hosts)).toHaveLength(4)
  }
})

test.each(['on', 'null', '1e3', '0x10', '1.0', 'true', '2024-01-01', 'y'])(
  'a host named %s is still called so when the file is read',
  (name) => {
    const hosts = parse(withHosts('hosts:\n  a: {ssh: a}\n', [{ name, entry: { ssh: name } }])).hosts
    expect(hosts).toEqual({ a: { ssh: 'a' }, [name]: { ssh: name } })
  },
)

test.each([
  ['secretStore: file\n', 'secretStore: file\nhosts:\n  a:\n    ssh: a\n'],
  ['# mine\nsecretStore: file # x', '# mine\nsecretStore: file # x\nhosts:\n  a:\n    ssh: a'],
  [
    'hosts: # none yet\n# more\ndefaults: {}\n',
    'hosts: # none yet\n  a:\n    ssh: a\n# more\ndefaults: {}\n',
  ],
])('the first host of a file that says %j finds its place', (text, wanted) => {
  expect(withHosts(text, [{ name: 'a', entry: { ssh: 'a' } }])).toBe(wanted)
})

test('a removed host takes its own comments with it, and no others', () => {
  expect(withoutHosts(CAREFUL, ['lab'])).toBe(CAREFUL.replace('  "lab":   {ssh: lab}\n', ''))
  const [head, tail] = [CAREFUL.indexOf('  # the first'), CAREFUL.indexOf('\n  "lab"')]
  expect(withoutHosts(CAREFUL, ['prod'])).toBe(CAREFUL.slice(0, head) + CAREFUL.slice(tail))
  expect(withoutHosts(CAREFUL, ['prod', 'lab'])).toContain('hosts: {}\n')
})

test.each(Object.entries(FILES))(
  'three hosts added to a file with %s can be removed in any order',
  (_, text) => {
    const three = ['x', 'y', 'z'].map((name) => ({ name, entry: { ssh: name } }))
    const more = withHosts(text, three)
    for (const order of ['x y z', 'z x y', 'y z x'])
      expect(order.split(' ').reduce((left, name) => withoutHosts(left, [name]), more)).toBe(text)
    expect(withoutHosts(more, ['z', 'x', 'y'])).toBe(text)
    expect(withoutHosts(withoutHosts(more, ['x', 'z']), ['y'])).toBe(text)
  },
)

test.each(Object.entries(FILES))('every host of a file with %s can be removed at once', (_, text) => {
  const names = Object.keys((parse(text) as { hosts: object }).hosts)
  // An anchor must not go while an alias needs it; with all of its users it may.
  expect(parse(withoutHosts(text, names)).hosts).toEqual({})
})

test('a host removed from between two blank lines leaves one of them', () => {
  expect(withoutHosts('hosts:\n  a: {ssh: a}\n\n  b: {ssh: b}\n\n  c: {ssh: c}\n', ['b'])).toBe(
    'hosts:\n  a: {ssh: a}\n\n  c: {ssh: c}\n',
  )
})

test.each([
  ['hosts: {\n  a: {ssh: a}, # first\n  b: {ssh: b} # last\n}\n', 'a', 'hosts: {\n  b: {ssh: b} # last\n}\n'],
  [
    'hosts: {\n  a: {ssh: a}, # first\n  b: {ssh: b} # last\n}\n',
    'b',
    'hosts: {\n  a: {ssh: a} # first\n}\n',
  ],
  ['{"hosts":{"a":{"ssh":"a"},"b":{"ssh":"b"}}}', 'a', '{"hosts":{"b":{"ssh":"b"}}}'],
  ['{"hosts":{"a":{"ssh":"a"},"b":{"ssh":"b"}}}', 'b', '{"hosts":{"a":{"ssh":"a"}}}'],
  ['{"hosts": {\n  "a": {"ssh": "a"},\n  "b": {"ssh": "b"}}}\n', 'b', '{"hosts": {\n  "a": {"ssh": "a"}}}\n'],
])('from %j, %s is removed alone', (text, name, rest) => {
  expect(withoutHosts(text, [name])).toBe(rest)
})

test.each([
  'x: &h {a: {ssh: a}}\nhosts: *h\n',
  'hosts:\n  ? a\n  : {ssh: a}\n',
  'hosts: &h\n  a: {ssh: a}\nmore: *h\n',
  'hosts:\n  ? a\n  : ssh: a\n',
  '{defaults: {}}\n',
  '- hosts\n',
  'hosts: [a]\n',
])('rather than to guess, %j is left alone', async (text) => {
  expect(await failureOf(() => withHosts(text, [NEW]))).toMatchObject({ code: 'NOT_SUPPORTED' })
})

test('a host whose anchor another one uses cannot be removed', async () => {
  const text = 'hosts:\n  a: &x {ssh: a}\n  b: *x\n'
  expect(await failureOf(() => withoutHosts(text, ['a']))).toMatchObject({ code: 'NOT_SUPPORTED' })
  expect(withoutHosts(text, ['b'])).toBe('hosts:\n  a: &x {ssh: a}\n')
})
