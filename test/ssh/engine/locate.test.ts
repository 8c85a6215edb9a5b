import { execa } from 'execa'
import { readFileSync } from 'node:fs'
import { chmod, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { EngineLane } from '../../../src/ssh/engine/engine-lane.js'
import { locate, NoEngineSocket } from '../../../src/ssh/engine/locate.js'
import { startEngine, text } from '../../proxy/support.js'
import { describeWith } from '../../testbed/describe-with.js'
import { lacking, namespaces, program } from '../../testbed/parts.js'
import { skippedTitle } from '../../testbed/skipped.js'
import { Sshd } from '../../testbed/sshd.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { opensshLaneTo } from '../openssh/support.js'
import { laneTo, never, targetOf } from '../support.js'
import { Machine, PLACES, saidAt, TRANSPORTS } from './machine.js'

const [DOCKER, ROOTLESS, HOME, DESKTOP, PODMAN, USER_PODMAN] = PLACES

/** Sessions have a /run and a home directory of their own there. */
const describeApart = (title: string, tests: () => void): void => {
  if (namespaces()) describeWith(['sshd'], title, tests)
  else describe.skip(skippedTitle(title, 'needs root, with the right to mount'), tests)
}

const failureOf = async (located: Promise<unknown>): Promise<NoEngineSocket> => {
  const failure: unknown = await located.catch((thrown: unknown) => thrown)
  if (failure instanceof NoEngineSocket) return failure
  throw new Error(`it was found, or failed otherwise: ${String(failure)}`)
}

/** Somebody who is not root and can run commands. */
function ordinaryUser(): { name: string; uid: string } | undefined {
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [name = '', , uid = '', , , , shell = ''] = line.split(':')
    if (uid !== '0' && /\/(?:ba|da)?sh$/u.test(shell)) return { name, uid }
  }
  return undefined
}

describeApart("an engine's socket that has to be found", () => {
  let machine: Machine
  beforeAll(async () => {
    machine = await Machine.start()
  })
  afterAll(() => machine[Symbol.asyncDispose]())

  test.each(TRANSPORTS)('is the first of the usual places that has an engine: %s', async (_, laneOf) => {
    await using scope = new Scope()
    const lane = await laneOf(scope, machine.sshd)
    const engines = PLACES.map(() => new Scope())
    for (const engine of engines) scope.use(engine)
    for (const [index, place] of PLACES.entries()) await machine.engineAt(engines[index]!, place)
    for (const [index, place] of PLACES.entries()) {
      const { path, whose, notes } = await locate(lane)
      expect(path).toBe(place)
      expect(await saidAt(lane, path)).toBe(place)
      expect(whose).toMatch(/Docker|Podman|Colima|OrbStack|Rancher/u)
      const others = PLACES.slice(index + 1)
      expect(notes).toHaveLength(others.length)
      for (const [at, other] of others.entries()) {
        expect(notes[at]).toContain(`another engine listens at ${other} (`)
      }
      await engines[index]![Symbol.asyncDispose]()
    }
    expect((await failureOf(locate(lane))).code).toBe('ENGINE_SOCKET_MISSING')
  })

  test.each(TRANSPORTS)('is one where somebody listens rather than a dead one: %s', async (_, laneOf) => {
    await using scope = new Scope()
    const lane = await laneOf(scope, machine.sshd)
    await machine.deadAt(scope, DOCKER)
    // All that there is: whoever opens a stream hears that it is down.
    const dead = await locate(lane)
    expect(dead.path).toBe(DOCKER)
    await expect(lane.openStream(dead.path, never)).rejects.toMatchObject({ code: 'ENGINE_DOWN' })
    await machine.engineAt(scope, USER_PODMAN)
    expect(await locate(lane)).toMatchObject({ path: USER_PODMAN, whose: 'rootless Podman', notes: [] })
    // One that cannot be seen to listen is tried before it is passed over, as rootless Docker's may be.
    await machine.unseenEngineAt(scope, ROOTLESS)
    const { path, notes } = await locate(lane)
    expect(await saidAt(lane, path)).toBe(ROOTLESS)
    expect(notes).toEqual([`another engine listens at ${USER_PODMAN} (rootless Podman)`])
    expect(lane.openStreams).toBe(0)
  })

  test('is not told of twice where two places are one', async () => {
    await using scope = new Scope()
    const lane = await laneTo(scope, targetOf(machine.sshd))
    await machine.engineAt(scope, PODMAN)
    await machine.linkAt(scope, HOME, PODMAN)
    expect(await locate(lane)).toMatchObject({ path: HOME, notes: [] })
  })

  test('is looked for once for a crowd of clients, and then known', async () => {
    await using scope = new Scope()
    await machine.engineAt(scope, DESKTOP)
    const raw = await laneTo(scope, targetOf(machine.sshd))
    const lane = new EngineLane(raw, 'auto')
    expect(lane.remoteSocket).toBeNull()
    const before = (await machine.sshd.log()).length
    const streams = await Promise.all(Array.from({ length: 30 }, () => lane.openStream(never)))
    for (const stream of streams) expect(await text(stream)).toBe(DESKTOP)
    expect(await (async () => text(await lane.openStream(never)))()).toBe(DESKTOP)
    expect(lane.remoteSocket).toBe(DESKTOP)
    expect(lane.found?.whose).toBe('Docker Desktop')
    const commands = (await machine.sshd.log()).slice(before).match(/Starting session: command/gu)
    expect(commands).toHaveLength(1)
  })

  test('is not looked for where it was told', async () => {
    await using scope = new Scope()
    await machine.engineAt(scope, DOCKER)
    const told = machine.elsewhere('told.sock')
    await machine.engineAt(scope, 'told', told)
    const lane = new EngineLane(await laneTo(scope, targetOf(machine.sshd)), told)
    const before = (await machine.sshd.log()).length
    expect(await text(await lane.openStream(never))).toBe('told')
    expect(lane.remoteSocket).toBe(told)
    expect(lane.found).toBeNull()
    expect((await machine.sshd.log()).slice(before)).not.toContain('Starting session')
  })

  test.each(TRANSPORTS)('that is nowhere comes with all that was looked at: %s', async (_, laneOf) => {
    await using scope = new Scope()
    const lane = await laneOf(scope, machine.sshd)
    const failure = await failureOf(locate(lane))
    expect(failure).toMatchObject({ code: 'ENGINE_SOCKET_MISSING', stage: 'engine' })
    expect(failure.message).toMatch(/^there is no \/var\/run\/docker\.sock on \S+, nor .*Podman.*Colima/u)
    expect(failure.hint).toContain('remoteSocket:')
    expect(failure.looked).toEqual(PLACES.map((place) => `looked at ${place}: nothing there`))
    await writeFile(machine.behind(DOCKER), '')
    scope.add(DOCKER, (place) => rm(machine.behind(place)))
    expect(await failureOf(locate(lane))).toMatchObject({
      code: 'ENGINE_SOCKET_MISSING',
      message: expect.stringContaining('/var/run/docker.sock on ') as string,
      looked: expect.arrayContaining([`looked at ${DOCKER}: not a socket`]) as string[],
    })
  })

  test.each(TRANSPORTS)('that is lost while it is looked for is a lost link: %s', async (_, laneOf) => {
    await using scope = new Scope()
    const lane = await laneOf(scope, machine.sshd)
    const looking = locate(lane)
    lane.close()
    await expect(looking).rejects.toMatchObject({ code: 'LINK_LOST' })
  })
})

describeApart('an engine that the user may not use', () => {
  const ordinary = ordinaryUser()
  const title = 'is passed over for one of their own, and else said to be denied'
  const why = 'needs another user who has a shell'
  test.skipIf(!ordinary)(ordinary ? title : skippedTitle(title, why), async () => {
    await using scope = new Scope()
    const { path: dir } = scope.use(await TempDir.create())
    const [docker, rootless] = [join(dir, 'docker.sock'), join(dir, 'rootless.sock')]
    const { name = '', uid = '' } = ordinary ?? {}
    const ROOTLESS_OF_USER = `/run/user/${uid}/docker.sock`
    const sockets = { '/run/docker.sock': docker, [ROOTLESS_OF_USER]: rootless }
    // With PAM an account without a password is not a locked one.
    const options = ['UsePAM yes']
    const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'], options, sockets }))
    await chmod(dir, 0o755)
    await chmod(sshd.dir, 0o755)
    await chmod(sshd.authorizedKeysFile, 0o644)
    await startEngine(scope, docker, (client) => client.end('root'))
    await chmod(docker, 0o660)
    for (const openLane of [laneTo, opensshLaneTo]) {
      await using own = new Scope()
      const lane = await openLane(scope, targetOf(sshd, { user: name }))
      expect(await failureOf(locate(lane))).toMatchObject({
        code: 'ENGINE_SOCKET_DENIED',
        message: `${name} may not use ${DOCKER} on ${name}@127.0.0.1:${sshd.port}: permission denied`,
        hint: expect.stringContaining(`usermod -aG docker ${name}`) as string,
        looked: expect.arrayContaining([
          `looked at ${DOCKER}: permission denied`,
          `looked at ${ROOTLESS_OF_USER}: nothing there`,
        ]) as string[],
      })
      await startEngine(own, rootless, (client) => client.end('own'))
      await chmod(rootless, 0o666)
      expect(await locate(lane)).toMatchObject({ path: ROOTLESS_OF_USER, whose: 'rootless Docker' })
      expect(await saidAt(lane, ROOTLESS_OF_USER)).toBe('own')
    }
  })
})

describeApart('an engine that is named there', () => {
  let machine: Machine
  beforeAll(async () => {
    machine = await Machine.start()
  })
  afterAll(() => machine[Symbol.asyncDispose]())

  const named = (url: string) => machine.sshd.restart([`SetEnv DOCKER_HOST=${url}`])

  test.each(TRANSPORTS)('by DOCKER_HOST is the one, whatever else there is: %s', async (_, laneOf) => {
    await using scope = new Scope()
    for (const place of [DOCKER, ROOTLESS]) await machine.engineAt(scope, place)
    const own = machine.elsewhere('own name.sock')
    await named(`"unix://${own}"`)
    const lane = await laneOf(scope, machine.sshd)
    expect(await failureOf(locate(lane))).toMatchObject({
      code: 'ENGINE_SOCKET_MISSING',
      message: expect.stringContaining(`no ${own} on `) as string,
      hint: expect.stringContaining('DOCKER_HOST') as string,
    })
    // Away for a moment is no reason to work on another engine.
    await machine.deadAt(scope, '', own)
    const away = await locate(lane)
    expect(away.path).toBe(own)
    await expect(lane.openStream(own, never)).rejects.toMatchObject({ code: 'ENGINE_DOWN' })
    await machine.engineAt(scope, 'own', `${own}.new`)
    await named(`"unix://${own}.new"`)
    const again = await laneOf(scope, machine.sshd)
    expect(await locate(again)).toMatchObject({
      path: `${own}.new`,
      whose: 'DOCKER_HOST',
      notes: [DOCKER, ROOTLESS].map((place) => expect.stringContaining(place) as string),
    })
    expect(await saidAt(again, `${own}.new`)).toBe('own')
  })

  test('on another machine is not followed, and that is said', async () => {
    await using scope = new Scope()
    await named('tcp://10.0.0.5:2375')
    const lane = await laneTo(scope, targetOf(machine.sshd))
    const failure = await failureOf(locate(lane))
    expect(failure.code).toBe('ENGINE_SOCKET_MISSING')
    expect(failure.hint).toContain('DOCKER_HOST there is tcp://10.0.0.5:2375')
    expect(failure.looked[0]).toBe('DOCKER_HOST there is tcp://10.0.0.5:2375, which is not followed')
    await machine.engineAt(scope, PODMAN)
    const { path, notes } = await locate(lane)
    expect(path).toBe(PODMAN)
    expect(notes).toEqual(['DOCKER_HOST there is tcp://10.0.0.5:2375, which is not followed'])
  })
})

describeApart("an engine that Docker's current context there names", () => {
  const lacksDocker = lacking(['docker']).length > 0
  const title = 'is the one, whatever else there is'
  test.skipIf(lacksDocker)(
    lacksDocker ? skippedTitle(title, 'not on this machine: docker') : title,
    async () => {
      await using scope = new Scope()
      const path = `PATH=${dirname(program('docker') ?? '')}:/usr/bin:/bin`
      const machine = scope.use(await Machine.start([`SetEnv ${path}`]))
      for (const place of [DOCKER, DESKTOP]) await machine.engineAt(scope, place)
      const lane = await laneTo(scope, targetOf(machine.sshd))
      const docker = (...words: string[]) =>
        execa(program('docker') ?? 'docker', ['--config', join(machine.sshd.home, '.docker'), ...words])
      await docker('context', 'create', 'desktop-linux', '--docker', `host=unix://${DESKTOP}`)
      expect(await locate(lane)).toMatchObject({ path: DOCKER, whose: 'Docker' })
      await docker('context', 'use', 'desktop-linux')
      const found = await locate(lane)
      expect(found).toMatchObject({ path: DESKTOP, whose: "Docker's current context" })
      expect(found.notes).toEqual([`another engine listens at ${DOCKER} (Docker)`])
      // The one that everybody has means no more than the usual places.
      await docker('context', 'use', 'default')
      expect(await locate(lane)).toMatchObject({ path: DOCKER, whose: 'Docker' })
    },
  )
})

describeWith(['sshd'], 'a server that does not let us look for the engine', () => {
  test.each([
    ['runs another command', ['ForceCommand echo go away']],
    ['runs no command', ['MaxSessions 0']],
    ['never answers', ['ForceCommand sleep 30']],
  ])('because it %s has it where Docker puts it', async (_, options) => {
    await using scope = new Scope()
    const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'], options }))
    const lanes = await Promise.all(TRANSPORTS.map(([, laneOf]) => laneOf(scope, sshd)))
    const found = await Promise.all(lanes.map((lane) => locate(lane)))
    expect(found).toEqual(lanes.map(() => ({ path: DOCKER, whose: null, notes: [] })))
    expect(lanes.map(({ lost }) => lost.aborted)).toEqual(lanes.map(() => false))
  })

  test('because it floods us is not heard to the end', async () => {
    await using scope = new Scope()
    const options = ['ForceCommand yes @dproxy end']
    const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'], options }))
    for (const [, laneOf] of TRANSPORTS) {
      const lane = await laneOf(scope, sshd)
      const startedMs = performance.now()
      expect((await locate(lane)).whose).toBeNull()
      // Before the time is up that a look may take.
      expect(performance.now() - startedMs).toBeLessThan(4500)
      expect(lane.lost.aborted).toBe(false)
    }
  })
})

describeApart('a login shell that talks', () => {
  test('does not get in the way of the look', async () => {
    await using scope = new Scope()
    const talk = 'ForceCommand echo "Welcome!"; printf "no newline"; eval "$SSH_ORIGINAL_COMMAND"; printf bye'
    const machine = scope.use(await Machine.start([talk]))
    await machine.engineAt(scope, ROOTLESS)
    for (const [, laneOf] of TRANSPORTS) {
      expect((await locate(await laneOf(scope, machine.sshd))).path).toBe(ROOTLESS)
    }
  })
})
