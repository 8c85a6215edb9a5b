import { appendFile, chmod, readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { describeWith } from '../../testbed/describe-with.js'
import { noPamUser, PamUser } from '../../testbed/pam-user.js'
import { skippedTitle } from '../../testbed/skipped.js'
import { SshAgent } from '../../testbed/ssh-agent.js'
import { Sshd } from '../../testbed/sshd.js'
import { attempt, keyMaker, logged, person, refused, resolvedTo, stored } from './support.js'

const lacking = noPamUser()

describeWith(['sshd'], 'a login by what a person knows', () => {
  if (lacking !== undefined) {
    test.skip(skippedTitle('asks a real server’s PAM', lacking), () => undefined)
    return
  }

  let user: PamUser
  let sshd: Sshd
  beforeAll(async () => {
    user = await PamUser.create()
    sshd = await Sshd.start({ hostKeyTypes: ['ed25519'], options: PASSWORDS })
    // sshd reads the file of keys as the user who logs in.
    await chmod(sshd.dir, 0o711)
    await chmod(sshd.authorizedKeysFile, 0o644)
  })
  afterAll(async () => {
    await sshd[Symbol.asyncDispose]()
    await user[Symbol.asyncDispose]()
  })

  const PAM = ['UsePAM yes', 'KbdInteractiveAuthentication yes']
  const PASSWORDS = ['UsePAM yes', 'PasswordAuthentication yes', 'KbdInteractiveAuthentication no']

  const byPerson = () => resolvedTo(sshd, { user: user.name, identityFiles: [] })

  const byBoth = () => resolvedTo(sshd, { user: user.name, identitiesOnly: false })

  const to = () => `${user.name}@127.0.0.1:${sshd.port}`

  describe('with a password', () => {
    test('takes the stored one, and asks nobody', async () => {
      await using scope = new Scope()
      const secrets = stored({ password: user.password })
      expect(await attempt(scope, byPerson(), { secrets, ask: person().ask })).toBeUndefined()
    })

    test('asks once, unseen', async () => {
      await using scope = new Scope()
      const { ask, questions } = person([user.password])
      expect(await attempt(scope, byPerson(), { ask })).toBeUndefined()
      expect(questions).toEqual([
        {
          kind: 'password',
          text: `${to()} asks for a password.`,
          prompts: [{ text: `Password of ${to()}: `, echo: false }],
        },
      ])
    })

    test('gives up after one wrong one, whoever gave it', async () => {
      await using scope = new Scope()
      const typed = person(['planted-wrong'])
      let failure: Awaited<ReturnType<typeof refused>> | undefined
      const tries = await logged(sshd, /Failed password/u, async () => {
        failure = await refused(scope, byPerson(), { ask: typed.ask })
      })
      expect(tries).toBe(1)
      expect(typed.questions).toHaveLength(1)
      expect(failure).toMatchObject({
        code: 'LOGIN_REFUSED',
        message: `${to()} refused the password that was typed`,
        hint: 'try again: dproxy up prod',
      })
      const secrets = stored({ password: 'planted-wrong' })
      const fromStore = await refused(scope, byPerson(), { secrets, ask: person().ask })
      expect(fromStore).toMatchObject({
        code: 'LOGIN_REFUSED',
        message: `${to()} refused the password from the test store`,
      })
      expect(fromStore.hint).toContain('dproxy secret set prod')
      expect(JSON.stringify([failure, fromStore, failure?.stack, fromStore.stack])).not.toContain('planted')
    })

    test('says who is needed when nobody can be asked', async () => {
      await using scope = new Scope()
      const tries = await logged(sshd, /Failed/u, async () => {
        expect(await refused(scope, byPerson())).toMatchObject({
          code: 'LOGIN_NEEDS_PERSON',
          message: `${to()} takes no keys, only password; no password is stored, and nobody can be asked for one`,
          hint: 'on a terminal: dproxy up prod; or store it: dproxy secret set prod',
        })
      })
      expect(tries).toBe(0)
    })

    test('sends nothing when the person declines or types nothing', async () => {
      await using scope = new Scope()
      for (const answer of [null, ['']]) {
        const tries = await logged(sshd, /Failed/u, async () => {
          const failure = await refused(scope, byPerson(), { ask: person(answer).ask })
          expect(failure.code).toBe('LOGIN_NEEDS_PERSON')
          expect(failure.message).toContain(`the password for ${to()} was asked for and not given`)
        })
        expect(tries).toBe(0)
      }
    })

    test('tells a password apart that a configuration leaves out', async () => {
      await using scope = new Scope()
      const resolved = resolvedTo(sshd, { user: user.name, methods: ['publickey'] })
      const failure = await refused(scope, resolved)
      expect(failure.message).toMatch(/takes no keys, only password; your configuration leaves that out$/u)
    })

    beforeAll(async () => {
      await sshd.restart([...PASSWORDS, 'PubkeyAuthentication no'])
    })
    afterAll(async () => {
      await sshd.restart(PASSWORDS)
    })
  })

  describe('with question and answer', () => {
    beforeAll(() => sshd.restart([...PAM, 'PubkeyAuthentication no']))

    test('answers a plain question for the password from the store', async () => {
      await using scope = new Scope()
      const secrets = stored({ password: user.password })
      expect(await attempt(scope, byPerson(), { secrets })).toBeUndefined()
    })

    test('passes the server’s own question on', async () => {
      await using scope = new Scope()
      const { ask, questions } = person([user.password])
      expect(await attempt(scope, byPerson(), { ask })).toBeUndefined()
      expect(questions).toHaveLength(1)
      expect(questions[0]).toMatchObject({ kind: 'keyboard-interactive' })
      expect(questions[0]?.text).toContain(`${to()} asks:`)
      expect(questions[0]?.prompts).toEqual([
        { text: expect.stringContaining('Password: ') as string, echo: false },
      ])
    })

    test('is refused once after a wrong answer, and closes when none is given', async () => {
      await using scope = new Scope()
      const { ask, questions } = person(['wrong'])
      const tries = await logged(sshd, /Failed keyboard-interactive/u, async () => {
        expect(await refused(scope, byPerson(), { ask })).toMatchObject({
          code: 'LOGIN_REFUSED',
          message: `${to()} refused the answers that were typed`,
        })
      })
      expect(tries).toBe(1)
      expect(questions).toHaveLength(1)
      const declined = await refused(scope, byPerson(), { ask: person(null).ask })
      expect(declined.code).toBe('LOGIN_NEEDS_PERSON')
      expect(declined.message).toContain('Password:"')
      expect(declined.message).toContain('was asked for and not given')
    })

    test('is not tried again as a password where the server takes both', async () => {
      await using scope = new Scope()
      await sshd.restart([...PAM, 'PasswordAuthentication yes', 'PubkeyAuthentication no'])
      const { ask, questions } = person(['wrong'])
      const tries = await logged(sshd, /Failed (?:keyboard|password)/u, () =>
        refused(scope, byPerson(), { ask }),
      )
      expect(tries).toBe(1)
      expect(questions).toHaveLength(1)
    })
  })

  describe('after a key', () => {
    beforeAll(() => sshd.restart([...PAM, 'AuthenticationMethods publickey,keyboard-interactive']))

    test('succeeds with one signature, however many keys there are', async () => {
      await using scope = new Scope()
      const { key } = await keyMaker(scope)
      const agent = scope.use(await SshAgent.start())
      for (const name of ['one', 'two', 'three']) {
        const file = await key(name)
        await appendFile(sshd.authorizedKeysFile, await readPublic(file))
        await agent.add([file])
      }
      const { ask, questions } = person([user.password])
      const byAgent = resolvedTo(sshd, { user: user.name, identityFiles: [], identitiesOnly: false })
      let failure: unknown = 'nothing yet'
      // Each signature leaves one of these lines.
      const signatures = await logged(sshd, /(?:Partial|Accepted|Failed) publickey/u, async () => {
        failure = await attempt(scope, byAgent, { ask, agentSocket: agent.socket })
      })
      expect(failure).toBeUndefined()
      expect(questions).toHaveLength(1)
      expect(signatures).toBe(1)
    })

    test('says what was accepted and what is wanted still', async () => {
      await using scope = new Scope()
      const wrong = await refused(scope, byBoth(), { ask: person(['wrong']).ask })
      expect(wrong).toMatchObject({
        code: 'LOGIN_REFUSED',
        message: `${to()} accepted ${sshd.keyFile} as a first step, then refused the answers that were typed`,
      })
      const nobody = await refused(scope, byBoth())
      expect(nobody.code).toBe('LOGIN_NEEDS_PERSON')
      expect(nobody.message).toMatch(
        /accepted \S+ as a first step; it also takes keyboard-interactive; no password is stored, and nobody can be asked for one$/u,
      )
    })

    test('takes two different keys where the server wants two', async () => {
      await using scope = new Scope()
      await sshd.restart([...PAM, 'AuthenticationMethods publickey,publickey'])
      const { key } = await keyMaker(scope)
      const second = await key('second')
      const identityFiles = [sshd.keyFile, await key('wrong'), second]
      const resolved = resolvedTo(sshd, { user: user.name, identityFiles })
      const failure = await refused(scope, resolved)
      expect(failure).toMatchObject({ code: 'LOGIN_REFUSED' })
      expect(failure.message).toMatch(
        /refused 2 keys: \S+wrong and \S+second, then accepted \S+client_key as a first step$/u,
      )
      await appendFile(sshd.authorizedKeysFile, await readPublic(second))
      expect(await attempt(scope, resolved)).toBeUndefined()
    })
  })
})

const readPublic = (file: string): Promise<string> => readFile(`${file}.pub`, 'utf8')
