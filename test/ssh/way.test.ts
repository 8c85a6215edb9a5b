import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { describeWith } from '../testbed/describe-with.js'
import { freePort } from '../testbed/free-port.js'
import { Sshd } from '../testbed/sshd.js'
import { TempDir } from '../testbed/temp-dir.js'
import { ANY_TARGET, failureOf, targetOf } from './support.js'

test('a proxy command finds the agent of whoever asked, not the one that this process was born with', async () => {
  await using scope = new Scope()
  const said = join(scope.use(await TempDir.create()).path, 'said')
  const proxyCommand = ['sh', '-c', `echo "$SSH_AUTH_SOCK" >>'${said}'; exit 1`]
  const env = { PATH: process.env.PATH, DPROXY_SSH_CONFIG: 'none', SSH_AUTH_SOCK: '/gone/with/its/session' }
  for (const agentSocket of ['/the/new.sock', null]) {
    const failure = await failureOf({ ...ANY_TARGET, proxyCommand }, { env, agentSocket })
    expect(failure.code).toBe('PROXY_FAILED')
  }
  expect(await readFile(said, 'utf8')).toBe('/the/new.sock\n\n')
})

describeWith(['sshd'], 'the way through a jump host', () => {
  test('a jump host that cannot go on is named, with words to try it that log in to the same server', async () => {
    await using scope = new Scope()
    const jump = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'] }))
    const config = join(scope.use(await TempDir.create()).path, 'config')
    await writeFile(
      config,
      `Host bastion
         HostName 127.0.0.1
         Port ${jump.port}
         IdentityFile ${jump.keyFile}
         UserKnownHostsFile ${jump.knownHostsFile}`,
    )
    const closed = await freePort()
    const proxyJump = [{ destination: 'bastion', user: jump.user, port: null }]
    const env = { PATH: process.env.PATH, DPROXY_SSH_CONFIG: config }
    const failure = await failureOf({ ...targetOf(jump), port: closed, proxyJump }, { env })
    expect(failure).toMatchObject({ code: 'CONNECT_FAILED', stage: 'connect' })
    expect(failure.message).toContain(`could not connect to 127.0.0.1:${closed}`)
    expect(failure.hint).toBe(
      `try it there: ssh -p ${jump.port} ${jump.user}@bastion nc -vz 127.0.0.1 ${closed}`,
    )
  })
})
