import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runSecretCommand } from '../../../src/registry/secrets/command.js'
import { commandOf, descendants, withEnvironment } from '../../testbed/processes.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { until } from '../../testbed/until.js'
import { calm, everythingIn, failureOf, seenInProcesses } from './support.js'

const env = { PATH: process.env.PATH ?? '/usr/bin:/bin' }
const PLANTED = 'planted-7f3a9c'
const script = (text: string): string[] => ['sh', '-c', text]
const run = (words: readonly string[], limitMs?: number): Promise<string> =>
  runSecretCommand(words, { env, signal: calm(), ...(limitMs === undefined ? {} : { limitMs }) })

test('the first line that the program prints is the secret, whatever letters it has', async () => {
  expect(await run(['printf', String.raw`p w\t$(id)ü"\n`])).toBe('p w\t$(id)ü"')
  expect(await run(['printf', 'first\\r\\nurl: example.com\\n'])).toBe('first')
  expect(await run(['printf', 'no newline'])).toBe('no newline')
  expect(await run(['printf', ' blanks stay \\n'])).toBe(' blanks stay ')
})

test('no shell reads the words', async () => {
  expect(await run(['echo', '$HOME `id` $(id) ; id > /tmp/x | *'])).toBe('$HOME `id` $(id) ; id > /tmp/x | *')
  expect((await failureOf(run(['echo hello']))).message).toContain('there is no such program')
})

test('the program gets no input, and its environment without the path of our own passphrase', async () => {
  expect(await run(script('read -r line; echo "read ended with $?"'))).toBe('read ended with 1')
  const named = { ...env, DPROXY_SECRETS_PASSPHRASE_FILE: '/master', PASSWORD_STORE_DIR: '/store' }
  const said = await runSecretCommand(
    script('echo "${DPROXY_SECRETS_PASSPHRASE_FILE-unset} $PASSWORD_STORE_DIR"'),
    { env: named, signal: calm() },
  )
  expect(said).toBe('unset /store')
})

test.for([
  [
    'is not there',
    ['no-such-program-here', 'prod/login'],
    'no-such-program-here cannot be started: there is no such program',
  ],
  ['may not be run', ['/etc/passwd'], '/etc/passwd cannot be started: EACCES'],
  [
    'fails',
    script('echo a-secret; echo first >&2; printf "gpg: \\033[31mno key\\n" >&2; exit 3'),
    'sh failed (3): gpg: \\x1b[31mno key',
  ],
  ['fails in silence', script('exit 1'), 'sh failed (1)'],
  ['is killed', script('kill -9 $$'), 'sh failed (SIGKILL)'],
  ['prints nothing', ['true'], 'true printed nothing'],
  ['prints an empty first line', script('echo; echo a-secret'), 'sh printed an empty first line'],
  ['prints what is no text', ['printf', '\\377\\n'], 'printf printed something that is not UTF-8 text'],
  ['prints without end', ['yes', 'a-secret'], 'yes printed more than 64 KiB'],
] as const)(
  'a program that %s: the error names it and why, and nothing that it printed',
  async ([, words, message]) => {
    const failure = await failureOf(run(words))
    expect(failure).toMatchObject({ code: 'SECRET_MISSING', message: `the command ${message}` })
    expect(failure.hint).toContain('run it yourself')
    expect(everythingIn(failure)).not.toContain('a-secret')
    expect(everythingIn(failure)).not.toContain('prod/login')
  },
)

test('a trace that repeats the secret does not bring it into the error', async () => {
  const failure = await failureOf(run(script(`echo ${PLANTED}; echo "+ echo ${PLANTED}" >&2; exit 1`)))
  expect(failure.message).toBe('the command sh failed (1): + echo …')
  expect(everythingIn(failure)).not.toContain(PLANTED)
})

test('a program that does not end is stopped, with everything that it started', async () => {
  const mark = `${process.pid}-${Date.now()}`
  const words = script('sleep 1000 & (trap "" TERM; sleep 1000) & wait')
  const marked = { ...env, SECRET_TEST: mark }
  const before = Date.now()
  const failure = await failureOf(runSecretCommand(words, { env: marked, signal: calm(), limitMs: 300 }))
  expect(failure.message).toBe('the command sh did not end within 0.3 s and was stopped')
  expect(Date.now() - before).toBeLessThan(3000)
  await until('all of it is gone', () => withEnvironment('SECRET_TEST', mark).length === 0)
})

const runs = (): boolean => descendants(process.pid).some((pid) => commandOf(pid) === 'sleep 1234')

test('whoever waits for a program can be told to stop', async () => {
  const stop = new AbortController()
  const waiting = failureOf(runSecretCommand(['sleep', '1234'], { env, signal: stop.signal }))
  await until('it runs', runs)
  stop.abort(new Error('enough'))
  expect((await waiting).message).toContain('enough')
  await until('it is gone', () => !runs())
})

test('what a program gives is in no command line and no environment', async () => {
  await using dir = await TempDir.create()
  const file = join(dir.path, 'secret')
  await writeFile(file, `${PLANTED}\n`)
  await chmod(file, 0o600)
  const { seen, started } = await seenInProcesses(PLANTED, async () => {
    expect(await run(script(`sleep 0.1; cat ${file}`))).toBe(PLANTED)
  })
  expect(started).toBeGreaterThan(0)
  expect(seen).toEqual([])
})
