import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { writeFile } from 'node:fs/promises'
import ssh2, { type AuthContext, type KeyboardAuthContext } from 'ssh2'
import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { printable } from '../../../src/base/text.js'
import { generateThrowAwayKey } from '../../../src/ssh/throw-away-key.js'
import { attempt, keyMaker, person, refused, resolvedAt, stored } from './support.js'

/** A server that lets in as `decide` says; its port. */
const serverThat = async (
  scope: Scope,
  decide: (login: AuthContext, end: () => void, reset: () => void) => void,
): Promise<number> => {
  const options = { hostKeys: [generateThrowAwayKey().privateKey] }
  const sockets = new Set<Socket>()
  const reset = () => {
    for (const socket of sockets) socket.resetAndDestroy()
  }
  const ssh = new ssh2.Server(options, (client) => {
    client.on('error', () => undefined)
    client.on('authentication', (login) => decide(login, () => client.end(), reset))
  })
  const server = createServer((socket) => {
    sockets.add(socket)
    ssh.injectSocket(socket)
  })
  scope.add(server, (taken) => {
    for (const socket of sockets) socket.destroy()
    taken.close()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

const hidden = (prompt: string) => [{ prompt, echo: false }]

/** A server that asks by `keyboard-interactive` as `talk` says. */
const serverThatAsks = (scope: Scope, talk: (login: KeyboardAuthContext) => void): Promise<number> =>
  serverThat(scope, (login) => {
    if (login.method === 'keyboard-interactive') talk(login)
    else login.reject(['keyboard-interactive'])
  })

test('several rounds of questions are answered one after the other', async () => {
  await using scope = new Scope()
  const heard: string[][] = []
  const port = await serverThatAsks(scope, (login) => {
    login.prompt(hidden('Password: '), 'Login', 'First step.', (first) => {
      heard.push(first)
      login.prompt(
        [
          { prompt: 'Code: ', echo: true },
          { prompt: 'Pin: ', echo: false },
        ],
        (second) => {
          heard.push(second)
          login.accept()
        },
      )
    })
  })
  const { ask, questions } = person(['123456', '99'])
  const secrets = stored({ password: 'stored' })
  expect(await attempt(scope, resolvedAt(port), { ask, secrets })).toBeUndefined()
  // The store answers what can only be the password, the person everything else.
  expect(heard).toEqual([['stored'], ['123456', '99']])
  expect(questions).toEqual([
    {
      kind: 'keyboard-interactive',
      text: `deploy@127.0.0.1:${port} asks:`,
      prompts: [
        { text: 'Code: ', echo: true },
        { text: 'Pin: ', echo: false },
      ],
    },
  ])
})

test('a password from the store answers no other question', async () => {
  await using scope = new Scope()
  for (const prompt of ['One-time password: ', 'OTP password: ', 'New password: ', 'Passcode: ']) {
    const heard: string[][] = []
    const port = await serverThatAsks(scope, (login) => {
      login.prompt(hidden(prompt), (answers) => {
        heard.push(answers)
        login.accept()
      })
    })
    const secrets = stored({ password: 'stored' })
    expect(await attempt(scope, resolvedAt(port), { ask: person(['typed']).ask, secrets })).toBeUndefined()
    expect(heard).toEqual([['typed']])
    const failure = await refused(scope, resolvedAt(port), { secrets })
    expect(failure.code).toBe('LOGIN_NEEDS_PERSON')
    expect(failure.message).toContain(
      `the server wants the answer to "${prompt.trim()}", and nobody can be asked`,
    )
  }
})

test('a round without a question needs nobody', async () => {
  await using scope = new Scope()
  const port = await serverThatAsks(scope, (login) => {
    login.prompt([], 'Push', 'Look at your telephone.', () => {
      login.prompt([], () => login.accept())
    })
  })
  const { ask, questions } = person()
  expect(await attempt(scope, resolvedAt(port), { ask })).toBeUndefined()
  expect(questions).toEqual([])
})

test('a hundred questions at once are asked in order, more are refused', async () => {
  await using scope = new Scope()
  let amount = 100
  const heard: string[][] = []
  const port = await serverThatAsks(scope, (login) => {
    const prompts = Array.from({ length: amount }, (_, index) => ({ prompt: `${index}? `, echo: true }))
    login.prompt(prompts, (answers) => {
      heard.push(answers)
      login.accept()
    })
  })
  const answers = Array.from({ length: 100 }, (_, index) => `answer ${index}`)
  expect(await attempt(scope, resolvedAt(port), { ask: person(answers).ask })).toBeUndefined()
  expect(heard).toEqual([answers])
  amount = 101
  const failure = await refused(scope, resolvedAt(port), { ask: person().ask })
  expect(failure).toMatchObject({ code: 'LOGIN_UNSUPPORTED', stage: 'login' })
  expect(failure.message).toContain('asks 101 questions at once')
})

test('what a server asks is neither obeyed nor endless', async () => {
  await using scope = new Scope()
  const esc = '\u001b]0;owned\u0007\u202e'
  const port = await serverThatAsks(scope, (login) => {
    const many = Array.from({ length: 10 }, () => ({ prompt: `${esc}${'x'.repeat(2000)}`, echo: true }))
    login.prompt(
      [{ prompt: `${esc}Choose:\r\n 1. push\r\n 2. call\r\nYour choice: `, echo: true }, ...many],
      esc,
      esc.repeat(800),
      () => login.accept(),
    )
  })
  const { ask, questions } = person(['1'])
  expect(await attempt(scope, resolvedAt(port), { ask })).toBeUndefined()
  const [{ text, prompts } = { text: '', prompts: [] }] = questions
  const all = [...text.split('\n'), ...prompts.map((prompt) => prompt.text)]
  expect(all.map(printable)).toEqual(all)
  expect(prompts[0]).toEqual({ text: 'Your choice: ', echo: true })
  expect(prompts).toHaveLength(11)
  expect(Math.max(...prompts.map((prompt) => prompt.text.length))).toBeLessThanOrEqual(1024)
  expect(text.length + prompts.reduce((sum, prompt) => sum + prompt.text.length, 0)).toBeLessThan(9000)
})

test('lines above a prompt are shown before it', async () => {
  await using scope = new Scope()
  const port = await serverThatAsks(scope, (login) => {
    login.prompt('Choose:\n 1. push\n 2. call\nYour choice: ', 'Two factors', 'Second step.\n', () =>
      login.accept(),
    )
  })
  const { ask, questions } = person(['1'])
  expect(await attempt(scope, resolvedAt(port), { ask })).toBeUndefined()
  expect(questions[0]?.text).toBe(
    `deploy@127.0.0.1:${port} asks:\nTwo factors\nSecond step.\nChoose:\n 1. push\n 2. call`,
  )
})

test('a password that must be changed is refused in words', async () => {
  await using scope = new Scope()
  const port = await serverThat(scope, (login) => {
    if (login.method === 'password') login.requestChange('Expired\u001b[2J, choose anew', () => undefined)
    else login.reject(['password'])
  })
  const failure = await refused(scope, resolvedAt(port), { secrets: stored({ password: 'old' }) })
  expect(failure).toMatchObject({ code: 'LOGIN_REFUSED', stage: 'login' })
  expect(failure.message).toContain('wants a new password: Expired\\x1b[2J, choose anew')
  expect(failure.hint).toContain(`ssh -p ${port} deploy@prod.example.com`)
})

test('a server that hangs up on a login without a word has refused it', async () => {
  await using scope = new Scope()
  const port = await serverThat(scope, (login, end) => {
    if (login.method === 'none') login.reject(['password'])
    else end()
  })
  const failure = await refused(scope, resolvedAt(port), { secrets: stored({ password: 'x' }) })
  expect(failure).toMatchObject({
    code: 'LOGIN_REFUSED',
    message: `deploy@127.0.0.1:${port} refused the password from the test store; then it hung up: the server closed the connection`,
  })
})

test('a connection that is reset in the middle has refused a password, but not a key', async () => {
  await using scope = new Scope()
  const resets = (method: string) =>
    serverThat(scope, (login, _, reset) => {
      if (login.method === 'none') login.reject([method as 'password'])
      else reset()
    })
  const password = resolvedAt(await resets('password'))
  expect(await refused(scope, password, { secrets: stored({ password: 'x' }) })).toMatchObject({
    code: 'LOGIN_REFUSED',
  })
  const { key } = await keyMaker(scope)
  const byKey = resolvedAt(await resets('publickey'), { identityFiles: [await key('one')] })
  // A link is made again after this, as after any fault of the network.
  expect(await refused(scope, byKey)).toMatchObject({ code: 'HANDSHAKE_FAILED', stage: 'login' })
})

test('a server that hangs up before anything was tried has refused nothing', async () => {
  await using scope = new Scope()
  const port = await serverThat(scope, (_, end) => end())
  expect(await refused(scope, resolvedAt(port))).toMatchObject({ code: 'HANDSHAKE_FAILED', stage: 'login' })
})

test('a server that hangs up while a person thinks says so', async () => {
  await using scope = new Scope()
  let end: (() => void) | undefined
  const port = await serverThat(scope, (login, hangUp) => {
    end = hangUp
    login.reject(['password'])
  })
  const aborted: boolean[] = []
  const failure = await refused(scope, resolvedAt(port), {
    ask: (_, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          aborted.push(true)
          reject(signal.reason)
        })
        end?.()
      }),
  })
  expect(failure.code).toBe('LOGIN_NEEDS_PERSON')
  expect(failure.message).toContain('hung up while it waited for an answer')
  // The question is withdrawn.
  expect(aborted).toEqual([true])
})

test('a server that takes only what ssh2 lacks is left to the system’s ssh', async () => {
  await using scope = new Scope()
  const port = await serverThat(scope, (login) => login.reject(['gssapi-with-mic' as never, 'hostbased']))
  const failure = await refused(scope, resolvedAt(port), { ask: person().ask })
  expect(failure).toMatchObject({ code: 'LOGIN_UNSUPPORTED', stage: 'login' })
  expect(failure.message).toContain('takes only gssapi-with-mic and hostbased, which dproxy cannot do')
  expect(failure.hint).toContain('transport: openssh')
})

test('a key that is known but not admitted is told apart from one that is unknown', async () => {
  await using scope = new Scope()
  const { at } = await keyMaker(scope)
  await writeFile(at('id'), generateThrowAwayKey().privateKey, { mode: 0o600 })
  const port = await serverThat(scope, (login) => {
    if (login.method === 'publickey' && !login.signature) login.accept()
    else login.reject(['publickey'])
  })
  const failure = await refused(scope, resolvedAt(port, { identityFiles: [at('id')] }))
  expect(failure).toMatchObject({
    code: 'LOGIN_REFUSED',
    message: `deploy@127.0.0.1:${port} knew ${at('id')} but did not let it in`,
  })
  expect(failure.hint).toContain('PermitRootLogin')
})

test('a server that is never content is left', async () => {
  await using scope = new Scope()
  let tries = 0
  const port = await serverThat(scope, (login) => {
    tries += 1
    if (login.method === 'keyboard-interactive') {
      login.prompt(hidden('Password: '), () => login.reject(['keyboard-interactive', 'password'], true))
    } else login.reject(['keyboard-interactive', 'password'], login.method === 'password')
  })
  const failure = await refused(scope, resolvedAt(port), { secrets: stored({ password: 'x' }) })
  expect(failure.message).toContain('accepted the password from the test store')
  expect(tries).toBeLessThan(8)
})

test('a question that nobody is there to answer, where one may be, tries no other way twice', async () => {
  await using scope = new Scope()
  const seen: string[] = []
  const port = await serverThat(scope, (login) => {
    seen.push(login.method)
    login.reject(['keyboard-interactive', 'password'])
  })
  const failure = await refused(scope, resolvedAt(port), { ask: person(['typed']).ask })
  // The first was refused without a question: that says nothing about the password.
  expect(seen).toEqual(['none', 'keyboard-interactive', 'password'])
  expect(failure.message).toContain('refused the password that was typed')
})
