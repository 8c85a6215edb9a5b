import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { runCommandLine } from '../../src/cli/run.js'
import { describeWith } from '../testbed/describe-with.js'
import { Keyring } from '../testbed/keyring.js'
import { seenInProcesses } from '../registry/secrets/support.js'
import { Desk, type Said } from './support.js'

const PLANTED = 'planted-7f3a9c ü"\\'
const CONFIG = 'hosts:\n  prod: {ssh: prod.invalid}\n  lab: {ssh: lab.invalid}\n'

/** A desk in a session with an unlocked keychain. */
const deskWithKeychain = async (scope: Scope, config = CONFIG): Promise<{ desk: Desk; keyring: Keyring }> => {
  const keyring = scope.use(await Keyring.start('unlocked'))
  const desk = scope.use(await Desk.create(config))
  Object.assign(desk.env, keyring.env, { HOME: desk.dir })
  return { desk, keyring }
}

/** Runs a command line whose questions without echo are answered one after the other; others are not answered. */
const runs = async (desk: Desk, args: readonly string[], answers: readonly string[]) => {
  const left = [...answers]
  const questions: string[] = []
  const said: Said = { code: -1, out: '', err: '' }
  const io = desk.io(
    (text) => (said.out += text),
    (text) => (said.err += text),
  )
  const askSecret = async (question: string): Promise<string> => {
    questions.push(question)
    const answer = left.shift()
    if (answer === undefined) throw new Error('there is no answer left')
    return answer
  }
  said.code = await runCommandLine(args, { ...io, ask: undefined, askSecret })
  return { ...said, questions }
}

describeWith(['keyring'], 'dproxy secret, with a keychain,', () => {
  test('asks for a password twice without echo, stores it, lists and removes it, and never shows it', async () => {
    await using scope = new Scope()
    const { desk, keyring } = await deskWithKeychain(scope)
    const all: Said[] = []
    const set = await runs(desk, ['secret', 'set', 'PROD'], [PLANTED, PLANTED])
    expect(set).toMatchObject({ code: 0, out: '', err: 'stored the password of prod in the keychain\n' })
    expect(set.questions).toEqual(['Password of prod: ', 'The same again: '])
    expect(await keyring.lookup('dproxy', 'prod password')).toBe(PLANTED)
    const list = await desk.runs('secret', 'ls')
    expect(list).toEqual({ code: 0, out: 'HOST  SECRET    STORE\nprod  password  keychain\n', err: '' })
    const json = await desk.runs('secret', 'ls', '--json')
    expect(JSON.parse(json.out)).toEqual({
      schemaVersion: 1,
      stores: [{ name: 'keychain', readable: true, problem: null }],
      secrets: [{ host: 'prod', alias: null, kind: 'password', store: 'keychain' }],
    })
    const removed = await desk.runs('secret', 'rm', 'prod')
    expect(removed).toMatchObject({ code: 0, err: 'removed the password of prod from the keychain\n' })
    const again = await desk.runs('secret', 'rm', 'prod')
    expect(again.code).toBe(1)
    expect(again.err).toContain('no password of prod is stored in the keychain')
    all.push(set, list, json, removed, again)
    expect(JSON.stringify(all)).not.toContain('planted')
    expect((await desk.runs('secret', 'ls')).err).toBe('nothing is stored in the keychain\n')
  })

  test('reads a password from standard input, without the newline at its end, and puts it nowhere else', async () => {
    await using scope = new Scope()
    const { desk, keyring } = await deskWithKeychain(scope)
    desk.stdin = `${PLANTED}\n`
    const { seen, started } = await seenInProcesses(PLANTED, async () => {
      const { code, out } = await desk.runs('secret', 'set', 'prod', '--stdin', '--json')
      expect(code).toBe(0)
      expect(JSON.parse(out)).toEqual({ schemaVersion: 1, name: 'prod', kind: 'password', store: 'keychain' })
    })
    expect(started).toBeGreaterThan(0)
    expect(seen).toEqual([])
    expect(await keyring.lookup('dproxy', 'prod password')).toBe(PLANTED)
  })

  test('stores nothing that is no password, or that was mistyped', async () => {
    await using scope = new Scope()
    const { desk, keyring } = await deskWithKeychain(scope)
    for (const [stdin, why] of [
      ['', 'an empty password is none'],
      ['\n', 'an empty password is none'],
      ['two\nlines\n', 'a password is one line, and there are more'],
      ['a\0b', 'a password must not have a NUL character'],
    ] as const) {
      desk.stdin = stdin
      const { code, err } = await desk.runs('secret', 'set', 'prod', '--stdin')
      expect({ code, err }).toMatchObject({
        code: 2,
        err: expect.stringContaining(`${why}; nothing was stored`),
      })
    }
    const differ = await runs(desk, ['secret', 'set', 'prod'], [PLANTED, 'another'])
    expect(differ).toMatchObject({ code: 2, err: expect.stringContaining('the two passwords differ') })
    expect(differ.err).not.toContain(PLANTED)
    expect(await keyring.lookup('dproxy', 'prod password')).toBe('')
  })

  test('stores the passphrase of a key only if it opens the key', async () => {
    await using scope = new Scope()
    const { desk, keyring } = await deskWithKeychain(scope)
    const key = join(desk.dir, 'key')
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-a', '1', '-N', PLANTED, '-f', key])
    const config = `hosts: {prod: {ssh: prod.invalid, identityFile: ${key}}}\n`
    await writeFile(join(desk.dir, '.config/dproxy/config.yaml'), config)
    const set = ['secret', 'set', 'prod', '--passphrase']
    const wrong = await runs(desk, set, ['not the one'])
    expect(wrong).toMatchObject({
      code: 4,
      err: expect.stringContaining(`does not open ${key}; nothing was stored`),
    })
    expect(wrong.err).not.toContain('not the one')
    expect(await runs(desk, set, [''])).toMatchObject({
      code: 2,
      err: expect.stringContaining('empty passphrase'),
    })
    expect(await keyring.lookup('dproxy', 'prod passphrase')).toBe('')
    const right = await runs(desk, set, [PLANTED])
    expect(right).toMatchObject({ code: 0, err: 'stored the passphrase of prod in the keychain\n' })
    expect(right.questions).toEqual([`Passphrase of ${key}: `])
    expect(await keyring.lookup('dproxy', 'prod passphrase')).toBe(PLANTED)
    expect((await desk.runs('secret', 'rm', 'prod')).code).toBe(1)
    expect((await desk.runs('secret', 'rm', 'prod', '--passphrase')).code).toBe(0)
  })

  test('keeps the password of a jump host apart from that of a host with the same name', async () => {
    await using scope = new Scope()
    const { desk } = await deskWithKeychain(scope)
    desk.answer = PLANTED
    expect((await desk.runs('secret', 'set', 'prod', '--alias')).code).toBe(0)
    expect((await desk.runs('secret', 'ls')).out).toBe(
      'HOST          SECRET    STORE\nprod (alias)  password  keychain\n',
    )
    expect((await desk.runs('secret', 'rm', 'prod')).code).toBe(1)
    expect((await desk.runs('secret', 'rm', 'prod', '--alias')).code).toBe(0)
    expect(await desk.runs('secret', 'set', '-oProxyCommand=x', '--alias')).toMatchObject({ code: 2 })
  })

  test('removes what was stored for a host that is in no file any more', async () => {
    await using scope = new Scope()
    const { desk } = await deskWithKeychain(scope)
    desk.answer = PLANTED
    await desk.runs('secret', 'set', 'lab')
    await writeFile(join(desk.dir, '.config/dproxy/config.yaml'), 'hosts: {prod: {ssh: prod.invalid}}\n')
    expect((await desk.runs('secret', 'ls')).out).toContain('lab ')
    expect((await desk.runs('secret', 'rm', 'lab')).code).toBe(0)
  })

  test('says of a locked keychain that it is locked, in words and in JSON', async () => {
    await using scope = new Scope()
    const { desk, keyring } = await deskWithKeychain(scope)
    await keyring.lock()
    const text = await desk.runs('secret', 'ls')
    expect(text).toMatchObject({ code: 1, out: '', err: expect.stringContaining('the keychain is locked') })
    const json = await desk.runs('secret', 'ls', '--json')
    expect(json.code).toBe(1)
    expect(JSON.parse(json.out)).toMatchObject({
      stores: [{ name: 'keychain', readable: false, problem: { code: 'SECRET_STORE_LOCKED' } }],
      secrets: [],
    })
    desk.answer = PLANTED
    expect(await desk.runs('secret', 'set', 'prod')).toMatchObject({
      code: 1,
      err: expect.stringContaining('next: unlock it'),
    })
  })

  test('says when what is stored is not used, because the config names a command', async () => {
    await using scope = new Scope()
    const { desk } = await deskWithKeychain(
      scope,
      'hosts: {prod: {ssh: x.invalid, passwordCommand: [pass]}}\n',
    )
    desk.answer = PLANTED
    const { code, err } = await desk.runs('secret', 'set', 'prod')
    expect(code).toBe(0)
    expect(err).toContain('note: it is not used while the config names a passwordCommand for prod')
  })
})

test('without a keychain nothing is stored anywhere else, and what else there is is said', async () => {
  await using desk = await Desk.create(CONFIG)
  desk.answer = PLANTED
  const { code, err } = await desk.runs('secret', 'set', 'prod')
  expect(code).toBe(1)
  expect(err).toContain('dproxy: the keychain cannot be')
  expect(err).toContain('dproxy secret set NAME --store file, and `secretStore: file` in the config')
  const found = await execa('grep', ['-rl', 'planted', desk.dir], { reject: false })
  expect(found.stdout).toBe('')
  expect(existsSync(join(desk.dir, '.config/dproxy/secrets.enc'))).toBe(false)
})

test('secret set names a host that exists, and says which one was meant', async () => {
  await using desk = await Desk.create(CONFIG)
  const { code, err } = await desk.runs('secret', 'set', 'prd')
  expect(code).toBe(2)
  expect(err).toContain('no host is named "prd"; did you mean "prod"?')
  expect(err).toContain('--alias')
  expect((await desk.runs('secret', 'set')).code).toBe(2)
  expect((await desk.runs('secret')).code).toBe(2)
})

test.each(['', ' --alias', ' --store file', ' --alias --store keychain'])(
  'without a terminal, secret set asks nobody and says how else to store the same (%s)',
  async (flags) => {
    await using desk = await Desk.create(CONFIG)
    const { code, err } = await desk.runs('secret', 'set', 'prod', ...flags.split(' ').slice(1))
    expect(code).toBe(2)
    expect(err).toContain(`next: pipe it in: pass show prod | dproxy secret set prod${flags} --stdin\n`)
  },
)

test('without a terminal, the passphrase of a key is not taken for a password', async () => {
  await using desk = await Desk.create()
  const key = join(desk.dir, 'key')
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'sesame', '-f', key])
  await writeFile(
    join(desk.dir, '.config/dproxy/config.yaml'),
    `hosts:\n  prod: {ssh: prod.invalid, identityFile: ${key}}\n`,
  )
  const { code, err } = await desk.runs('secret', 'set', 'prod', '--passphrase')
  expect(code).toBe(2)
  expect(err).toContain('| dproxy secret set prod --passphrase --stdin\n')
})

test('what is too long for a password is not stored', async () => {
  await using desk = await Desk.create(`secretStore: file\n${CONFIG}`)
  desk.stdin = 'x'.repeat(4097)
  const { code, err } = await runs(desk, ['secret', 'set', 'prod', '--stdin'], [])
  expect(code).toBe(2)
  expect(err).toContain('a password of more than 4096 characters is none; nothing was stored')
  expect(err).not.toContain('xxx')
})

test('a store that there is none of is told in one sentence', async () => {
  await using desk = await Desk.create(CONFIG)
  expect(await desk.runs('secret', 'ls', '--store', 'cloud\u001b[1m')).toEqual({
    code: 2,
    out: '',
    err: 'dproxy: --store takes keychain or file, not "cloud\\u001b[1m"\n  next: dproxy secret ls --help\n',
  })
})

test('a passphrase that no key needs is not asked for', async () => {
  await using desk = await Desk.create(CONFIG)
  const key = join(desk.dir, 'key')
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
  const config = `hosts:\n  open: {ssh: x.invalid, identityFile: ${key}}\n  gone: {ssh: x.invalid, identityFile: ${key}2}\n`
  await writeFile(join(desk.dir, '.config/dproxy/config.yaml'), config)
  for (const [name, why] of [
    ['open', `the key file ${key} needs no passphrase`],
    ['gone', `the key file ${key}2 does not exist`],
  ] as const) {
    const said = await runs(desk, ['secret', 'set', name, '--passphrase'], [])
    expect(said).toMatchObject({ code: 4, err: expect.stringContaining(why), questions: [] })
  }
  const none = await runs(desk, ['secret', 'set', 'bastion.invalid', '--alias', '--passphrase'], [])
  expect(none).toMatchObject({ code: 4, questions: [] })
})

test('the encrypted file is used when the config says so; its passphrase is asked for twice, then once', async () => {
  await using desk = await Desk.create(`secretStore: file\n${CONFIG}`)
  const file = join(desk.dir, '.config/dproxy/secrets.enc')
  const first = await runs(desk, ['secret', 'set', 'prod'], [PLANTED, PLANTED, 'sesame', 'sesame'])
  expect(first).toMatchObject({ code: 0, err: `stored the password of prod in the encrypted file ${file}\n` })
  expect(first.questions.slice(2)).toEqual([`A passphrase for the new file ${file}: `, 'The same again: '])
  const list = await runs(desk, ['secret', 'ls'], ['sesame'])
  expect(list).toMatchObject({ code: 0, out: 'HOST  SECRET    STORE\nprod  password  file\n' })
  expect(list.questions).toEqual([`Passphrase of ${file}: `])
  const wrong = await runs(desk, ['secret', 'ls', '--json'], ['sesam'])
  expect(wrong.code).toBe(1)
  expect(JSON.parse(wrong.out)).toMatchObject({ stores: [{ problem: { code: 'SECRET_STORE_LOCKED' } }] })
  const nobody = await desk.runs('secret', 'ls', '--store', 'file')
  expect(nobody).toMatchObject({ code: 2, err: expect.stringContaining('DPROXY_SECRETS_PASSPHRASE_FILE') })
  expect(JSON.stringify([first, list, wrong, nobody])).not.toContain('planted')
})

test('a passphrase for a new encrypted file that was mistyped, or is empty, stores nothing', async () => {
  await using desk = await Desk.create(`secretStore: file\n${CONFIG}`)
  desk.stdin = PLANTED
  const set = ['secret', 'set', 'prod', '--stdin']
  expect((await runs(desk, set, ['sesame', 'sesam'])).err).toContain('the two passphrases differ')
  expect((await runs(desk, set, [''])).err).toContain('an empty passphrase protects nothing')
  expect(existsSync(join(desk.dir, '.config/dproxy/secrets.enc'))).toBe(false)
})

test('whoever stores where no host looks is told so, unless they want it quiet', async () => {
  await using desk = await Desk.create(CONFIG)
  const note = 'note: `up` looks there only with `secretStore: file` in the config\n'
  const set = ['secret', 'set', 'prod', '--store', 'file']
  const first = await runs(desk, set, [PLANTED, PLANTED, 'sesame', 'sesame'])
  expect(first).toMatchObject({ code: 0, err: expect.stringMatching(/^stored the password of prod in /u) })
  expect(first.err.endsWith(`\n${note}`)).toBe(true)
  const alias = await runs(desk, [...set, '--alias'], [PLANTED, PLANTED, 'sesame'])
  expect(alias.err.endsWith(`\n${note}`)).toBe(true)
  const quiet = await runs(desk, [...set, '--quiet'], [PLANTED, PLANTED, 'sesame'])
  expect(quiet).toMatchObject({ code: 0, err: '' })
  await writeFile(join(desk.dir, '.config/dproxy/config.yaml'), `secretStore: file\n${CONFIG}`)
  const used = await runs(desk, set, [PLANTED, PLANTED, 'sesame'])
  expect(used).toMatchObject({ code: 0, err: expect.not.stringContaining('note:') })
})

test.runIf(process.platform === 'linux')(
  'without a keychain, what the encrypted file holds is listed all the same, and nobody is asked for it',
  async () => {
    await using desk = await Desk.create(CONFIG)
    await runs(desk, ['secret', 'set', 'prod', '--store', 'file'], [PLANTED, PLANTED, 'sesame', 'sesame'])
    const file = join(desk.dir, '.config/dproxy/secrets.enc')
    const closed = await runs(desk, ['secret', 'ls'], [])
    expect(closed).toMatchObject({ code: 1, out: '', questions: [] })
    expect(closed.err).toContain(`note: the encrypted file ${file} is there, too, and was not opened`)
    expect(closed.err).toContain('(dproxy secret ls --store file)\ndproxy: the keychain cannot be reached: ')
    const master = join(desk.dir, 'master')
    await writeFile(master, 'sesame\n', { mode: 0o600 })
    desk.env.DPROXY_SECRETS_PASSPHRASE_FILE = master
    const open = await desk.runs('secret', 'ls')
    expect(open).toMatchObject({ code: 1, out: 'HOST  SECRET    STORE\nprod  password  file\n' })
    expect(open.err).toMatch(/^dproxy: the keychain cannot be reached: .*\n {2}next: .*\n$/u)
    const json = await desk.runs('secret', 'ls', '--json')
    expect(JSON.parse(json.out)).toMatchObject({
      stores: [
        { name: 'keychain', readable: false, problem: { code: 'SECRET_STORE_FAILED' } },
        { name: 'file', readable: true, problem: null },
      ],
      secrets: [{ host: 'prod', store: 'file' }],
    })
    expect(await desk.runs('secret', 'ls', '--store', 'keychain')).toMatchObject({ code: 1, out: '' })
  },
)
