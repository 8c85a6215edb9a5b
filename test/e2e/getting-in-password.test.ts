import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { noPamUser, PamUser } from '../testbed/pam-user.js'
import { until } from '../testbed/until.js'
import { Entrance, openEngine } from './getting-in.js'
import { describeOurs, must, statusOf, stands, supervisors } from './lifecycle.js'

const PASSWORDS = ['UsePAM yes', 'PasswordAuthentication yes', 'KbdInteractiveAuthentication no']
const QUESTIONS = ['UsePAM yes', 'KbdInteractiveAuthentication yes']

/** A server that knows a user by password; the key of the test is not let in. */
const enter = async (scope: Scope, options = PASSWORDS, entry: object = {}) => {
  const user = scope.use(await PamUser.create())
  const place = scope.use(
    await Entrance.open(await openEngine(scope), {}, { hostKeyTypes: ['ed25519'], options }),
  )
  const { port } = place.sshd
  await place.configure({
    ssh: `ssh://${user.name}@127.0.0.1:${port}`,
    identityFile: '/nonexistent',
    ...entry,
  })
  return { user, place }
}

describeOurs('getting in with a password', () => {
  test.skipIf(noPamUser() !== undefined)(
    'it is asked for once, without being shown; the next login that needs it waits for the user',
    async () => {
      await using scope = new Scope()
      const { user, place } = await enter(scope)
      const up = place.terminal('up', 'prod')
      await up.sees(/Password/u)
      up.type(`${user.password}\r`)
      expect(await up.exitCode).toBe(0)
      expect(up.output).not.toContain(user.password)
      await place.sshd.restart()
      await until('it waits for the user', async () => {
        const host = (await statusOf(place.world, 'prod')).hosts[0]
        return host?.state === 'failed' && host.lastError?.code === 'LOGIN_NEEDS_PERSON'
      })
      const status = await must(place.world, ['status'])
      expect(status.stdout).toMatch(/password/u)
      expect(status.stdout).toMatch(/dproxy up prod/u)
      // Its clients are told, too; and the user gets it going again in one step.
      const again = place.terminal('up', 'prod')
      await again.sees(/Password/u)
      again.type(`${user.password}\r`)
      expect(await again.exitCode).toBe(0)
    },
  )

  test.skipIf(noPamUser() !== undefined)(
    'a wrong one is refused, and never sent again by itself',
    async () => {
      await using scope = new Scope()
      const { place } = await enter(scope, QUESTIONS)
      const up = place.terminal('up', 'prod')
      await up.sees(/Password/iu)
      up.type('wrong\r')
      expect(await up.exitCode).toBe(4)
      await until('the supervisor has left', () => supervisors(place.world).length === 0)
      const failed = [...(await place.sshd.log()).matchAll(/Failed keyboard/gu)]
      expect(failed.length).toBeLessThanOrEqual(1)
      expect(stands(place.world)).toBe(false)
    },
  )

  test.skipIf(noPamUser() !== undefined)(
    'no secret is told: not by processes, status, logs, files or errors',
    async () => {
      await using scope = new Scope()
      const { user, place } = await enter(scope, PASSWORDS)
      const file = await place.file('secret', `${user.password}\n`)
      await place.configure({
        ssh: `ssh://${user.name}@127.0.0.1:${place.sshd.port}`,
        identityFile: await place.encryptedKey('planted-passphrase'),
        passphraseCommand: ['printf', 'planted-passphrase'],
        passwordCommand: ['cat', file],
      })
      const up = await must(place.world, ['up', 'prod'])
      const told = [up.stdout, up.stderr]
      for (const args of [
        ['status', '--json'],
        ['logs'],
        ['logs', '--json'],
        ['restart', 'prod'],
        ['doctor', 'prod'],
      ]) {
        const { stdout, stderr } = await place.world.dproxy(args)
        told.push(stdout, stderr)
      }
      const running = supervisors(place.world)
      expect(running).toHaveLength(1)
      for (const pid of running)
        for (const name of ['cmdline', 'environ']) told.push(await readFile(`/proc/${pid}/${name}`, 'utf8'))
      const state = join(place.world.dir, 'state/dproxy')
      for (const name of await readdir(state)) told.push(await readFile(join(state, name), 'utf8'))
      expect(told.join('').length).toBeGreaterThan(1000)
      expect(told.join('\n')).not.toContain(user.password)
      // The command of the config is the user's own words; what it prints is not told.
      expect(told.slice(0, -1).join('\n')).not.toContain('planted-passphrase')
    },
  )
})
