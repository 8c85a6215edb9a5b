import { execa } from 'execa'
import { existsSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { describeWith } from './describe-with.js'
import { namespaces } from './parts.js'
import { isAlive } from './processes.js'
import { Sshd } from './sshd.js'
import { TempDir } from './temp-dir.js'
import { until } from './until.js'

/** OpenSSH's client, as it would be used by hand. */
const ssh = (sshd: Sshd, ...command: string[]) =>
  execa(
    'ssh',
    [
      '-F none -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o BatchMode=yes'.split(' '),
      ['-o', `UserKnownHostsFile=${sshd.knownHostsFile}`, '-i', sshd.keyFile, '-p', String(sshd.port)],
      [`${sshd.user}@${sshd.host}`, ...command],
    ].flat(),
    { reject: false, stdin: 'ignore' },
  )

describeWith(['sshd'], 'the SSH server of the testbed', () => {
  test('lets its client key in and is vouched for by its known_hosts file', async () => {
    await using sshd = await Sshd.start()
    expect(await ssh(sshd, 'echo', 'in')).toMatchObject({ stdout: 'in', exitCode: 0 })
    expect(sshd.hostKeys.map((key) => key.split(' ')[0])).toEqual([
      'ssh-ed25519',
      'ecdsa-sha2-nistp256',
      'ssh-rsa',
    ])
  })

  test('ends with its scope, and its sessions and their commands with it', async () => {
    let pids: number[] = []
    let dir = ''
    {
      await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
      const client = ssh(sshd, 'sleep 1000 & sleep 1000')
      await until('both commands run', () => sshd.sessions().length >= 4)
      pids = [sshd.listener(), ...sshd.sessions()]
      dir = sshd.dir
      void client.catch(() => {})
    }
    await until('nothing of it runs', () => !pids.some(isAlive))
    expect(existsSync(dir)).toBe(false)
  })

  test('comes back on the same port with the same keys, and takes other options', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await sshd.stop()
    expect((await ssh(sshd, 'true')).stderr).toContain('Connection refused')
    await sshd.restart(['ForceCommand echo forced'])
    expect((await ssh(sshd, 'true')).stdout).toBe('forced')
  })

  test('says what is wrong with its options', async () => {
    await expect(Sshd.start({ hostKeyTypes: ['ed25519'], options: ['NoSuchOption yes'] })).rejects.toThrow(
      'Bad configuration option: NoSuchOption',
    )
  })

  test.runIf(namespaces())('does not let the startup files of its user in', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await writeFile(join(sshd.home, 'here'), '')
    expect((await ssh(sshd, 'ls -A ~')).stdout).toBe('here')
  })

  test.runIf(namespaces())('shows its sessions a Docker socket where clients look for one', async () => {
    await using dir = await TempDir.create()
    const socket = join(dir.path, 'engine.sock')
    const engine = createServer((client) => client.end()).listen(socket)
    await once(engine, 'listening')
    try {
      await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'], dockerSocket: socket })
      const answer = await ssh(sshd, 'test -S /var/run/docker.sock && readlink /var/run/docker.sock')
      expect(answer).toMatchObject({ stdout: socket, exitCode: 0 })
    } finally {
      engine.close()
    }
  })

  test.runIf(namespaces())('shows them more sockets at the paths that it is told', async () => {
    await using dir = await TempDir.create()
    const target = join(dir.path, 'engine.sock')
    await using sshd = await Sshd.start({
      hostKeyTypes: ['ed25519'],
      sockets: { '/run/user/1/docker.sock': target, [join(userInfo().homedir, '.rd/docker.sock')]: target },
    })
    const { stdout } = await ssh(sshd, 'readlink /run/user/1/docker.sock ~/.rd/docker.sock')
    expect(stdout.split('\n')).toEqual([target, target])
  })

  test('lets no more wait for their login than its options say', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'], options: ['MaxStartups 1'] })
    const first = connect(sshd.port, sshd.host).on('error', () => {})
    const [greeting] = (await once(first, 'data')) as [Buffer]
    expect(String(greeting)).toMatch(/^SSH-2\.0-/u)
    const second = connect(sshd.port, sshd.host).on('error', () => {})
    const [refusal] = (await once(second, 'data')) as [Buffer]
    expect(String(refusal)).not.toMatch(/^SSH-/u)
    for (const socket of [first, second]) socket.destroy()
  })
})
