import { execa } from 'execa'
import { appendFile, chmod, copyFile, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { generateThrowAwayKey } from '../../../src/ssh/throw-away-key.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Sshd } from '../../testbed/sshd.js'
import { NO_SECRETS } from '../no-secrets.js'
import { attempt, helpOf, keyMaker, logged, person, refused, resolvedTo, stored } from './support.js'

const SECRET = 'correct horse 5f2b'

describeWith(['sshd'], 'a login with key files', () => {
  let sshd: Sshd
  beforeAll(async () => {
    sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
  })
  afterAll(() => sshd[Symbol.asyncDispose]())

  /** Lets the keys in, as long as the scope lasts. */
  const authorize = async (scope: Scope, ...files: string[]) => {
    const before = await readFile(sshd.authorizedKeysFile)
    scope.add(before, (bytes) => writeFile(sshd.authorizedKeysFile, bytes))
    for (const file of files) await appendFile(sshd.authorizedKeysFile, await readFile(`${file}.pub`))
  }

  test('succeeds, and asks nobody', async () => {
    await using scope = new Scope()
    expect(await attempt(scope, resolvedTo(sshd))).toBeUndefined()
  })

  test.each([
    'ed25519',
    'ecdsa -b 256',
    'ecdsa -b 384',
    'ecdsa -b 521',
    'rsa -b 2048',
    'rsa -b 2048 -m PEM',
    'ecdsa -m PEM',
    'rsa -b 2048 -m PKCS8',
    'ecdsa -b 384 -m PKCS8',
  ])('takes a plain key: ssh-keygen -t %s', async (words) => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const file = await key('plain', '-t', ...words.split(' '))
    await authorize(scope, file)
    await rm(`${file}.pub`)
    expect(await attempt(scope, resolvedTo(sshd, { identityFiles: [file] }))).toBeUndefined()
  })

  test.each([
    'ed25519',
    'ed25519 -Z aes256-gcm@openssh.com',
    'ed25519 -Z aes128-cbc',
    'ecdsa -b 521',
    'rsa -b 2048',
    'rsa -b 2048 -m PEM',
    'ecdsa -m PEM',
    'rsa -b 2048 -m PKCS8',
    'ecdsa -m PKCS8',
  ])('unlocks an encrypted key: ssh-keygen -t %s', async (words) => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const file = await key('locked', '-a', '2', '-N', SECRET, '-t', ...words.split(' '))
    await authorize(scope, file)
    const resolved = resolvedTo(sshd, { identityFiles: [file] })
    for (const wrong of ['wrong', 'wronger']) {
      const failure = await refused(scope, resolved, { secrets: stored({ passphrase: wrong }) })
      expect(failure).toMatchObject({ code: 'LOGIN_PASSPHRASE', stage: 'login' })
      expect(failure.message).toContain('the passphrase from the test store does not open it')
    }
    // Without its public half beside it, some formats must be unlocked before the server can be asked.
    await rm(`${file}.pub`)
    const secrets = stored({ passphrase: SECRET })
    expect(await attempt(scope, resolved, { secrets })).toBeUndefined()
  })

  test('gives the exact command for a key encrypted with chacha20', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const file = await key('chacha', '-N', SECRET, '-Z', 'chacha20-poly1305@openssh.com')
    const resolved = resolvedTo(sshd, { identityFiles: [file] })
    const failure = await refused(scope, resolved, { secrets: stored({ passphrase: SECRET }) })
    expect(failure).toMatchObject({
      code: 'LOGIN_KEY_FILE',
      hint: `load it into your agent: ssh-add ${file}; or encrypt it anew: ssh-keygen -p -Z aes256-ctr -f ${file}`,
    })
    // What the hint says is what helps.
    await execa('ssh-keygen', ['-p', '-Z', 'aes256-ctr', '-P', SECRET, '-N', SECRET, '-f', file])
    await authorize(scope, file)
    expect(await attempt(scope, resolved, { secrets: stored({ passphrase: SECRET }) })).toBeUndefined()
  })

  test('asks for a passphrase only when the server takes the key', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const unknown = await key('unknown', '-N', SECRET)
    const resolved = resolvedTo(sshd, { identityFiles: [unknown, sshd.keyFile] })
    const nobody = person()
    expect(await logged(sshd, /Failed publickey/u, () => attempt(scope, resolved, { ask: nobody.ask }))).toBe(
      1,
    )
    expect(nobody.questions).toEqual([])
  })

  test('asks again after a wrong passphrase, which costs the server nothing', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const file = await key('asked', '-a', '1', '-N', SECRET)
    await authorize(scope, file)
    const { ask, questions } = person(['wrong'], ['wrong again'], [SECRET])
    const resolved = resolvedTo(sshd, { identityFiles: [file] })
    let failure
    expect(
      await logged(
        sshd,
        /Failed publickey/u,
        async () => (failure = await attempt(scope, resolved, { ask })),
      ),
    ).toBe(0)
    expect(failure).toBeUndefined()
    expect(questions).toHaveLength(3)
    expect(questions[0]).toMatchObject({
      kind: 'passphrase',
      prompts: [{ text: `Passphrase of ${file}: `, echo: false }],
    })
    expect(questions[2]?.text).toContain('That passphrase is wrong (2 of 3 tries).')
  })

  test('tells a wrong, a stored wrong, an empty and a missing passphrase apart', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const file = await key('four', '-a', '1', '-N', SECRET)
    await authorize(scope, file)
    const resolved = resolvedTo(sshd, { identityFiles: [file] })
    const hint = `load it into your agent: ssh-add ${file}; or store it: dproxy secret set prod --passphrase`
    const code = 'LOGIN_PASSPHRASE'
    const wrong = await refused(scope, resolved, { ask: person(['a1b'], ['a2b'], ['a3b']).ask })
    expect(wrong).toMatchObject({ code, hint })
    expect(wrong.message).toMatch(/the passphrase typed for the key file \S+ was wrong 3 times$/u)
    expect(wrong.message).not.toMatch(/a\db/u)
    const storedWrong = await refused(scope, resolved, { secrets: stored({ passphrase: 'a4b' }) })
    const onTerminal = `on a terminal: dproxy up prod; or ${hint}`
    expect(storedWrong).toMatchObject({ code, hint: onTerminal })
    expect(storedWrong.message).toContain('the passphrase from the test store does not open it')
    const empty = await refused(scope, resolved, { ask: person(['']).ask })
    expect(empty).toMatchObject({ code, hint })
    expect(empty.message).toMatch(/was passed over: its passphrase was left empty$/u)
    const none = await refused(scope, resolved)
    expect(none).toMatchObject({ code, hint: onTerminal })
    expect(none.message).toMatch(/its passphrase is not stored, and nobody can be asked for it$/u)
  })

  test('asks when the stored passphrase is wrong, and says which that was', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const file = await key('stale', '-a', '1', '-N', SECRET)
    await authorize(scope, file)
    const { ask, questions } = person([SECRET])
    const help = { ask, secrets: stored({ passphrase: 'stale' }) }
    expect(await attempt(scope, resolvedTo(sshd, { identityFiles: [file] }), help)).toBeUndefined()
    expect(questions[0]?.text).toContain('the passphrase from the test store does not open it')
  })

  test('ends when the person declines, without another question or another key', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const file = await key('declined', '-a', '1', '-N', SECRET)
    await authorize(scope, file)
    const resolved = resolvedTo(sshd, { identityFiles: [file, sshd.keyFile] })
    const failure = await refused(scope, resolved, { ask: person(null).ask })
    expect(failure).toMatchObject({ code: 'LOGIN_NEEDS_PERSON', stage: 'login' })
    expect(failure.message).toContain('was asked for and not given')
  })

  test('goes on to the next key when a passphrase is missing or passed over', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const file = await key('next', '-a', '1', '-N', SECRET)
    await authorize(scope, file)
    const resolved = resolvedTo(sshd, { identityFiles: [file, sshd.keyFile] })
    expect(await attempt(scope, resolved)).toBeUndefined()
    expect(await attempt(scope, resolved, { ask: person(['']).ask })).toBeUndefined()
  })

  test('says why a stored passphrase could not be had', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const file = await key('locked up', '-a', '1', '-N', SECRET)
    await authorize(scope, file)
    const problem = { kind: 'problem', why: 'the keychain is \u001b[31mlocked', hint: 'unlock it' } as const
    const secrets = { ...NO_SECRETS, passphrase: async () => problem, password: async () => problem }
    const failure = await refused(scope, resolvedTo(sshd, { identityFiles: [file] }), { secrets })
    expect(failure.code).toBe('LOGIN_PASSPHRASE')
    expect(failure.hint).toMatch(/^unlock it; or load it into your agent: ssh-add /u)
    expect(failure.message).toContain('could not be had: the keychain is \\x1b[31mlocked')
  })

  test('does not take a key file that others may read', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const file = await key('open')
    for (const mode of [0o644, 0o640, 0o604, 0o660]) {
      await chmod(file, mode)
      const failure = await refused(scope, resolvedTo(sshd, { identityFiles: [file] }))
      expect(failure).toMatchObject({ code: 'LOGIN_KEY_FILE', hint: `chmod 600 ${file}` })
      expect(failure.message).toContain(`${file} is open to others (mode ${mode.toString(8)})`)
    }
  })

  test('names a key file that is missing, and one that is none', async () => {
    await using scope = new Scope()
    const { at, dir, key } = await keyMaker(scope)
    await writeFile(at('nonsense'), 'nonsense', { mode: 0o600 })
    await writeFile(at('ppk'), 'PuTTY-User-Key-File-3: ssh-ed25519\n', { mode: 0o600 })
    await writeFile(at('lonely'), generateThrowAwayKey().publicKeyLine)
    const whole = await readFile(await key('cut'), 'latin1')
    await writeFile(at('cut'), whole.replace(/^.{70}$/mu, ''))
    for (const [file, why] of [
      [at('missing'), `the key file ${at('missing')} does not exist`],
      [at('nonsense'), `${at('nonsense')} holds no private key`],
      [at('ppk'), `the key file ${at('ppk')} is in PuTTY's format`],
      [at('lonely'), `${at('lonely')} holds no private key`],
      [at('cut'), `the key file ${at('cut')} cannot be read as a private key`],
      ['/dev/zero', '/dev/zero holds no private key'],
      [dir, `cannot read the key file ${dir}: EISDIR`],
    ] as const) {
      const failure = await refused(scope, resolvedTo(sshd, { identityFiles: [file] }))
      expect(failure.code).toBe('LOGIN_KEY_FILE')
      expect(failure.message).toContain(
        `there is no key to log in to ${sshd.user}@127.0.0.1:${sshd.port} with`,
      )
      // Once, and nothing else.
      expect(failure.message.split(why)).toHaveLength(2)
      expect(failure.message).not.toContain(';')
    }
  })

  test('goes on to the next key file when one is of no use', async () => {
    await using scope = new Scope()
    const { at, key } = await keyMaker(scope)
    const identityFiles = [at('missing'), await key('locked', '-N', SECRET), await key('wrong'), sshd.keyFile]
    expect(await attempt(scope, resolvedTo(sshd, { identityFiles }))).toBeUndefined()
  })

  test('says nothing of default key files that are not there', async () => {
    await using scope = new Scope()
    const resolved = resolvedTo(sshd, { identityFiles: ['/nonexistent/id'], identitiesNamed: false })
    const failure = await refused(scope, resolved)
    expect(failure).toMatchObject({ code: 'LOGIN_REFUSED' })
    expect(failure.message).toMatch(/with: no ssh-agent and no key file$/u)
  })

  test('offers the same key once, whatever it is called', async () => {
    await using scope = new Scope()
    const { at, key } = await keyMaker(scope)
    const file = await key('wrong')
    await copyFile(file, at('copy'))
    const resolved = resolvedTo(sshd, { identityFiles: [file, at('copy'), file] })
    expect(await logged(sshd, /Failed publickey/u, () => refused(scope, resolved))).toBe(1)
  })

  test('is refused for a user who is not there, and says what was offered', async () => {
    await using scope = new Scope()
    const failure = await refused(scope, resolvedTo(sshd, { user: 'nobody-of-this-name' }))
    expect(failure).toMatchObject({
      code: 'LOGIN_REFUSED',
      stage: 'login',
      message: `nobody-of-this-name@127.0.0.1:${sshd.port} refused the only key offered: ${sshd.keyFile}`,
      hint: expect.stringContaining(
        `ssh -i ${sshd.keyFile} -p ${sshd.port} nobody-of-this-name@prod.example.com`,
      ) as string,
    })
  })

  test('makes one attempt for each call, and none by itself', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const resolved = resolvedTo(sshd, { identityFiles: [await key('wrong')] })
    expect(await logged(sshd, /Failed publickey/u, () => refused(scope, resolved))).toBe(1)
  })

  test('unlocks a key once for a host, and again when the file has changed', async () => {
    await using scope = new Scope()
    const { at, key } = await keyMaker(scope)
    const file = await key('kept', '-a', '1', '-N', SECRET)
    const other = await key('other', '-a', '1', '-N', 'another')
    await authorize(scope, file, other)
    const resolved = resolvedTo(sshd, { identityFiles: [file] })
    const { unlocked } = helpOf()
    const once = person([SECRET])
    const both = [
      attempt(scope, resolved, { ask: once.ask, unlocked }),
      attempt(scope, resolved, { ask: once.ask, unlocked }),
    ]
    expect(await Promise.all(both)).toEqual([undefined, undefined])
    expect(once.questions).toHaveLength(1)
    expect(await attempt(scope, resolved, { unlocked })).toBeUndefined()
    await rename(at('other'), file)
    const again = person(['another'])
    expect(await attempt(scope, resolved, { ask: again.ask, unlocked })).toBeUndefined()
    expect(again.questions).toHaveLength(1)
  })
})
