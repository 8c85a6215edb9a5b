import { expect, test } from 'vitest'
import { LONGEST_SOCKET_PATH } from '../../src/base/paths.js'
import { Desk, failureOf, problemsIn } from './support.js'

const NAME_RULE =
  'the name of a host must begin with a letter or a digit and go on with at most 62 letters, digits, "_", "." or "-"'

test('every problem of a file is told at once, in the order of its lines', async () => {
  const text = `sockets: /tmp/x
hosts:
  prod:
    sssh: x
    connectTimeout: 10
    keepAlive: {interval: 15, missess: 3}
    lanes: 17
    transport: ssh3
    protected: yes
    tags: [ok, '-rf', 7]
  lab:
    ssh: http://x
    remoteSocket: docker.sock
    identityFile: [a, '~bob/k']
    socket: '/tmp/{nam}'
  empty:
`
  expect(await problemsIn(text)).toEqual([
    'line 1: unknown key "sockets", did you mean "socket"?',
    'line 3: hosts.prod.ssh: is missing',
    'line 4: hosts.prod: unknown key "sssh", did you mean "ssh"?',
    'line 5: hosts.prod.connectTimeout: must be a duration such as 10s',
    'line 6: hosts.prod.keepAlive.interval: must be a duration such as 10s',
    'line 6: hosts.prod.keepAlive: unknown key "missess", did you mean "misses"?',
    'line 7: hosts.prod.lanes: must be a whole number from 1 to 16',
    'line 8: hosts.prod.transport: must be auto, ssh2 or openssh',
    'line 9: hosts.prod.protected: must be true or false',
    'line 10: hosts.prod.tags[1]: must begin with a letter or a digit and go on with at most 62 letters, digits, "_", "." or "-"',
    'line 10: hosts.prod.tags[2]: must be a word',
    'line 12: hosts.lab.ssh: must start with ssh:// or be an alias of ssh',
    'line 13: hosts.lab.remoteSocket: must be auto or an absolute path',
    'line 14: hosts.lab.identityFile[1]: must name the whole path: of the "~" forms only "~/…" is understood',
    'line 15: hosts.lab.socket: must not have the unknown placeholder {nam}, did you mean "{name}"?',
    'line 16: hosts.empty: is empty; it must be a mapping with at least ssh',
  ])
})

test('JSON has lines too', async () => {
  const text = '{\n  "hosts": {\n    "a": {\n      "ssh": "a",\n      "prot": 22\n    }\n  }\n}\n'
  expect(await problemsIn(text, 'c.json')).toEqual(['line 5: hosts.a: unknown key "prot"'])
})

test.each([
  ['', 'line 1: is empty: it must have at least hosts'],
  ['# nothing yet\n', 'line 1: is empty: it must have at least hosts'],
  ['- a\n- b\n', 'line 1: must be a mapping with at least hosts'],
  ['hello', 'line 1: must be a mapping with at least hosts'],
  ['socket: /tmp/{name}\n', 'line 1: hosts: is missing'],
  ['# x\nhosts:\n', 'line 2: hosts: is empty; it must be a mapping of names to hosts'],
  ['hosts: [a]\n', 'line 1: hosts: must be a mapping of names to hosts'],
  ['hosts:\n  a: box\n', 'line 2: hosts.a: must be a mapping with at least ssh'],
  [
    'hosts:\n  a: {ssh: }\n',
    'line 2: hosts.a.ssh: is empty; it must be an alias of ssh, or ssh://user@host:port',
  ],
  ['hosts:\n  a: {ssh: 7}\n', 'line 2: hosts.a.ssh: must be an alias of ssh, or ssh://user@host:port'],
])('a file that says %j is told what it must have', async (text, problem) => {
  expect(await problemsIn(text)).toEqual([problem])
})

test.each([
  ['hosts:\n  a: {ssh: x\n  b: {ssh: y}\n', 3],
  ['hosts:\n  a:\n\tssh: x\n', 3],
  ['hosts:\n  a: "x\n', 3],
  ['hosts:\n  a: {ssh: !!js/function x}\n', 2],
])('a syntax error in %j names its line', async (text, line) => {
  const [first] = await problemsIn(text)
  expect(first).toMatch(new RegExp(`^line ${line}: is not valid YAML: `, 'u'))
})

test('a second document, an alias before its anchor and a merge key are told, not guessed at', async () => {
  expect(await problemsIn('hosts: {a: {ssh: x}}\n---\nhosts: {}\n')).toEqual([
    'line 2: must be one document: a second one begins here',
  ])
  expect(await problemsIn('hosts:\n  a: *nope\n')).toEqual([
    'line 2: must not use the alias *nope before its anchor',
  ])
  expect(await problemsIn('hosts: {a: {ssh: x, <<: {b: 1}}}\n')).toEqual([
    'line 1: hosts.a: unknown key "<<"',
  ])
})

test('an equal key is told with both lines, beside the other problems of the file', async () => {
  expect(await problemsIn('hosts:\n  a: {ssh: a}\n  b: {ssh: b}\n  a: {ssh: c, x: 1}\n')).toEqual([
    'line 2: hosts.a: unknown key "x"',
    'line 4: hosts.a: occurs twice, first on line 2',
  ])
  expect(await problemsIn('hosts:\n  1: {ssh: a}\n  "1": {ssh: b}\n')).toEqual([
    'line 3: hosts.1: occurs twice, first on line 2',
  ])
})

test('names that differ in letter case only are told with both lines', async () => {
  expect(await problemsIn('hosts:\n  prod: {ssh: a}\n  lab: {ssh: b}\n  PROD: {ssh: c}\n')).toEqual([
    'line 4: hosts.PROD: is the same name as "prod" on line 2: letter case does not count',
  ])
})

test.each([
  '../../x',
  'a/b',
  '.',
  '..',
  '-rf',
  ' a',
  'a b',
  '_a',
  'caf\u00e9',
  'cafe\u0301',
  'a@b',
  'a:b',
  '@a',
])('the name %j is refused, and what is in it still looked at', async (name) => {
  expect(await problemsIn(`hosts:\n  ${JSON.stringify(name)}: {ssh: a, x: 1}\n`)).toEqual([
    `line 2: hosts.${name}: unknown key "x"`,
    `line 2: hosts.${name}: ${NAME_RULE}`,
  ])
})

test('an empty name, one of 300 letters and ones with NUL or newline are refused and shown harmlessly', async () => {
  expect(await problemsIn('hosts:\n  "": {ssh: a}\n')).toEqual(['line 2: hosts: must not have an empty name'])
  const long = 'a'.repeat(300)
  expect(await problemsIn(`hosts:\n  ${long}: {ssh: a}\n`)).toEqual([
    `line 2: hosts.${'a'.repeat(80)}…: ${NAME_RULE}`,
  ])
  expect(
    await problemsIn(String.raw`hosts: {"a\0b": {ssh: a}, "c\nline 9: d": {ssh: b}, "\e[2J": {ssh: c}}`),
  ).toEqual([
    String.raw`line 1: hosts.a\x00b: ` + NAME_RULE,
    String.raw`line 1: hosts.c\x0aline 9: d: ` + NAME_RULE,
    String.raw`line 1: hosts.\x1b[2J: ` + NAME_RULE,
  ])
})

test('the longest name that the rule allows is accepted', async () => {
  await using desk = await Desk.create()
  const name = `a${'b'.repeat(62)}`
  expect((await desk.loadText(`hosts: {${name}: {ssh: a}}`)).hosts[0]?.name).toBe(name)
})

test('keys that are no words, or that would reach a prototype, are refused everywhere', async () => {
  expect(await problemsIn('hosts:\n  a: {ssh: a, __proto__: {protected: true}}\n')).toEqual([
    'line 2: hosts.a: unknown key "__proto__"',
  ])
  expect(await problemsIn('{"__proto__": {"hosts": {"a": {"ssh": "a"}}}}', 'c.json')).toEqual([
    'line 1: hosts: is missing',
    'line 1: unknown key "__proto__"',
  ])
  expect(await problemsIn('hosts:\n  __proto__: {ssh: a}\n')).toEqual([
    `line 2: hosts.__proto__: ${NAME_RULE}`,
  ])
  expect(await problemsIn('hosts:\n  ? [a]\n  : {ssh: a}\n  1.0: {ssh: b}\n  constructor: {}\n')).toEqual(
    expect.arrayContaining([
      'line 2: hosts: must have only words as keys; put this one in quotes',
      'line 4: hosts: must have only words as keys; put this one in quotes',
      'line 5: hosts.constructor.ssh: is missing',
    ]),
  )
  expect(({} as { protected?: unknown }).protected).toBeUndefined()
})

test('a bomb of aliases is refused in a moment, and so is one of brackets', async () => {
  const rows = Array.from(
    { length: 12 },
    (_, row) => `a${row}: &a${row} [${(row === 0 ? 'x,' : `*a${row - 1},`).repeat(10)}]`,
  )
  const started = performance.now()
  const tooMany = ['line 1: must not have more than 100 aliases']
  expect(await problemsIn(rows.join('\n'))).toEqual(tooMany)
  expect(await problemsIn(rows.slice(0, 9).join('\n'))).toEqual(tooMany)
  expect(await problemsIn(`a: &a x\nhosts: [${'*a,'.repeat(10_000)}]`)).toHaveLength(1)
  expect(await problemsIn(`hosts: ${'['.repeat(5000)}${']'.repeat(5000)}`)).toEqual([
    'line 1: must not be nested more than 50 levels deep',
  ])
  expect(await problemsIn('hosts: &h\n  a: *h\n')).not.toHaveLength(0)
  expect(performance.now() - started).toBeLessThan(10_000)
})

test('a file that is not a config at all gets its first fifty problems and the number of the rest', async () => {
  await using desk = await Desk.create()
  const hosts = Array.from({ length: 60 }, (_, index) => `  h${index}: {}`).join('\n')
  const { message } = await failureOf(() => desk.loadText(`hosts:\n${hosts}\n`))
  const lines = message.split('\n')
  expect(lines[0]).toMatch(/: 60 problems$/u)
  expect(lines).toHaveLength(52)
  expect(lines.at(-1)).toBe('  and 10 more')
})

test('two ways to one host exclude each other; a way of its own wins over that of the defaults', async () => {
  await using desk = await Desk.create()
  expect(await problemsIn('hosts: {a: {ssh: a, proxyJump: b, proxyCommand: [nc, b]}}\n')).toEqual([
    'line 1: hosts.a.proxyCommand: must not stand beside proxyJump; keep one of them',
  ])
  const { hosts } = await desk.loadText(`defaults: {proxyJump: 'me@bastion:2222,inner'}
hosts:
  far: {ssh: far}
  near: {ssh: near, proxyJump: none}
  odd: {ssh: odd, proxyCommand: [nc, '%h', '%p']}
`)
  expect(hosts.map(({ proxyJump, proxyCommand }) => [proxyJump, proxyCommand])).toEqual([
    [
      [
        { user: 'me', destination: 'bastion', port: 2222 },
        { user: null, destination: 'inner', port: null },
      ],
      null,
    ],
    [[], null],
    [null, ['nc', '%h', '%p']],
  ])
})

test.for([
  ['proxyJump: "-oProxyCommand=x"', 'proxyJump: must not have a host name that begins with "-"'],
  ['proxyJump: "a,,b"', 'proxyJump: must be none, or aliases or user@host:port, comma-separated'],
  ['proxyJump: "me:pw@b"', 'proxyJump: must not have a password: others could read it here'],
  ['proxyJump: "a;b"', 'proxyJump: must not have ; in the host name'],
  [
    'proxyCommand: nc h 22',
    'proxyCommand: must be a list of words such as [pass, show, prod]: no shell reads it',
  ],
  [
    'passphraseCommand: []',
    'passphraseCommand: must be a list of words such as [pass, show, prod]: no shell reads it',
  ],
  ['passwordCommand: [""]', 'passwordCommand: must begin with the name of a program'],
  ['transport: both', 'transport: must be auto, ssh2 or openssh'],
] as const)('%s is refused', async ([line, problem]) => {
  expect(await problemsIn(`hosts:\n  a:\n    ssh: a\n    ${line}\n`)).toEqual([`line 4: hosts.a.${problem}`])
})

test('two hosts on one local socket are told where the second gets it from', async () => {
  const text = `hosts:
  a: {ssh: a, socket: /tmp/x.sock}
  b:
    ssh: b
    socket: /tmp/y/../x.sock
`
  expect(await problemsIn(text)).toEqual(['line 5: hosts.b: has the same local socket as "a": /tmp/x.sock'])
  expect(await problemsIn('socket: /tmp/one.sock\nhosts: {a: {ssh: a}, b: {ssh: b}}\n')).toEqual([
    'line 1: hosts.b: has the same local socket as "a": /tmp/one.sock',
  ])
})

test('a socket path longer than the system takes is told with both lengths', async () => {
  const path = `/tmp/${'s'.repeat(LONGEST_SOCKET_PATH)}`
  expect(await problemsIn(`hosts:\n  a: {ssh: a}\n  b:\n    ssh: b\n    socket: ${path}\n`)).toEqual([
    `line 5: hosts.b: the socket path ${path} has ${path.length} bytes, the system takes ${LONGEST_SOCKET_PATH}`,
  ])
})

test.each([
  ['socket: ""', 'socket: must not be empty'],
  ['socket: "/tmp/a\\nb"', 'socket: must not have control characters'],
  ['remoteSocket: "/run/\\0"', 'remoteSocket: must not have control characters'],
  ['remoteSocket: tcp://x', 'remoteSocket: must be auto or an absolute path'],
  ['identityFile: {a: b}', 'identityFile: must be a path or a list of paths'],
  ['identityFile: ""', 'identityFile: must not be empty'],
  [
    'knownHostsFile: [~x]',
    'knownHostsFile[0]: must name the whole path: of the "~" forms only "~/…" is understood',
  ],
  ['connectTimeout: 0s', 'connectTimeout: must be a duration from 1ms to 24h'],
  ['connectTimeout: 25h', 'connectTimeout: must be a duration from 1ms to 24h'],
  ['connectTimeout: soon', 'connectTimeout: must be a duration with its unit, such as 500ms, 10s or 2m'],
  ['keepAlive: 15s', 'keepAlive: must be a mapping such as {interval: 15s, misses: 3}'],
  ['keepAlive: {misses: 0}', 'keepAlive.misses: must be a whole number from 1 to 100'],
  ['lanes: 0', 'lanes: must be a whole number from 1 to 16'],
  ['lanes: 1.5', 'lanes: must be a whole number from 1 to 16'],
  ['tags: eu', 'tags: must be a list of words'],
  ['description: [x]', 'description: must be text'],
])('the key %s is refused', async (key, problem) => {
  expect(await problemsIn(`hosts:\n  a:\n    ssh: a\n    ${key}\n`)).toEqual([`line 4: hosts.a.${problem}`])
})

test('a password in a config is refused and never repeated', async () => {
  const problems = await problemsIn('hosts:\n  a: {ssh: "ssh://me:hunter2@box"}\n')
  expect(problems).toEqual(['line 2: hosts.a.ssh: must not have a password: others could read it here'])
})
