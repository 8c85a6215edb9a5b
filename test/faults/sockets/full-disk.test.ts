/** A disk that has no space left, or no inode: what was there stays whole, and whoever wanted to write is told. */
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { DproxyError } from '../../../src/base/errors.js'
import { Scope } from '../../../src/base/scope.js'
import { listenUnix } from '../../../src/base/unix-socket.js'
import { changeConfigFile } from '../../../src/registry/edit/change-file.js'
import { fileStore } from '../../../src/registry/secrets/file.js'
import { learnHostKey } from '../../../src/ssh/known-hosts/learn.js'
import { EventLog } from '../../../src/supervisor/event-log.js'
import { lookupOf, ours } from '../../ssh/known-hosts/support.js'
import { World } from '../../testbed/cli.js'
import { describeWith } from '../../testbed/describe-with.js'
import { SmallDisk } from '../../testbed/small-disk.js'
import { until } from '../../testbed/until.js'

const PAGE = 4096
const calm = () => new AbortController().signal

const FULL = [
  ['has no space left', (disk: SmallDisk) => disk.fill()],
  ['has no inode left', async (disk: SmallDisk) => disk.useAllInodes()],
] as const

/** What a user sees in a directory of the disk. */
const listed = (dir: string) =>
  readdirSync(dir)
    .filter((name) => !name.startsWith('.filler'))
    .toSorted()

describeWith(['tmpfs'], 'a full disk', () => {
  test.each(FULL)('that %s: a config file is as it was, and nothing lies beside it [S9]', async (_, fill) => {
    await using scope = new Scope()
    const disk = scope.use(await SmallDisk.mount())
    const path = join(disk.path, 'config.yaml')
    const before = `# ${'x'.repeat(PAGE - 10)}\n`
    await writeFile(path, before)
    await fill(disk)
    const changed = changeConfigFile(path, (old) => `${old}# ${'y'.repeat(PAGE)}\n`)
    await expect(changed).rejects.toMatchObject({
      code: 'OUTPUT_FAILED',
      message: `${path} could not be written: there is no space left on its disk`,
    })
    expect(await readFile(path, 'utf8')).toBe(before)
    expect(listed(disk.path)).toEqual(['config.yaml'])
    await disk.free()
    await changeConfigFile(path, (old) => `${old}# more\n`)
    expect(await readFile(path, 'utf8')).toBe(`${before}# more\n`)
  })

  test.each(FULL)(
    'that %s: a known_hosts file is as it was, and the key is not trusted [S9]',
    async (_, fill) => {
      await using scope = new Scope()
      const disk = scope.use(await SmallDisk.mount())
      const file = join(disk.path, 'known_hosts')
      // A few bytes fit into its last page, and are written before the disk is found full.
      const before = `# ${'x'.repeat(PAGE - 20)}\n`
      await writeFile(file, before)
      await fill(disk)
      const lookup = lookupOf({ files: [file] })
      await expect(learnHostKey(lookup, ours.publicKeyBlob)).rejects.toMatchObject({
        code: 'HOST_KEY_NOT_STORED',
        message: expect.stringMatching(/known_hosts: .*(?:ENOSPC|no space left)/u) as string,
      })
      expect(await readFile(file, 'utf8')).toBe(before)
      expect(listed(disk.path)).toEqual(['known_hosts'])
      await disk.free()
      expect(await learnHostKey(lookup, ours.publicKeyBlob)).toEqual({ file, line: 2 })
    },
  )

  test.each(FULL)('that %s: the encrypted file still opens with what was in it [S9]', async (_, fill) => {
    await using scope = new Scope()
    const disk = scope.use(await SmallDisk.mount())
    const dir = join(disk.path, 'config')
    const path = join(dir, 'secrets.enc')
    const store = () => fileStore({ path, master: async () => 'the master passphrase' })
    await store().set({ owner: 'prod', kind: 'password' }, 'kept', calm())
    const before = await readFile(path)
    await fill(disk)
    const set = store().set({ owner: 'lab', kind: 'password' }, 'x'.repeat(2 * PAGE), calm())
    await expect(set).rejects.toMatchObject({
      code: 'SECRET_STORE_FAILED',
      message: expect.stringContaining('ENOSPC') as string,
    })
    expect(await readFile(path)).toEqual(before)
    expect(readdirSync(dir)).toEqual(['secrets.enc'])
    expect(await store().get({ owner: 'prod', kind: 'password' }, calm())).toBe('kept')
  })

  test.each(FULL)('that %s: the log misses lines and goes on [S9]', async (_, fill) => {
    await using scope = new Scope()
    const disk = scope.use(await SmallDisk.mount())
    const path = join(disk.path, 'state', 'dproxy.log')
    await mkdir(join(disk.path, 'state'))
    const log = scope.add(await EventLog.toFile(path), (taken) => taken.close())
    const lines = async () => (await readFile(path, 'utf8').catch(() => '')).split('\n')
    log.info(null, 'first')
    await until('the first line is there', async () => (await lines()).some((line) => line.includes('first')))
    await fill(disk)
    for (let at = 0; at < 100; at += 1) log.info('prod', `lost ${at} ${'x'.repeat(PAGE)}`)
    await until('all is heard of', () => log.recent().length === 101)
    await disk.free()
    await until('it goes on', async () => {
      log.info(null, 'later')
      return (await lines()).some((line) => line.includes('"later"'))
    })
    const whole = (await lines()).filter((line) => line !== '')
    expect(JSON.parse(whole[0]!)).toMatchObject({ message: 'first' })
    expect(JSON.parse(whole.at(-1)!)).toMatchObject({ message: 'later' })
  })

  test('that has no inode left: no socket is made, and a dead one is not removed [S9] [S1]', async () => {
    await using scope = new Scope()
    const disk = scope.use(await SmallDisk.mount())
    const path = join(disk.path, 'engine.sock')
    const dead = createServer().listen(`${path}.live`)
    await once(dead, 'listening')
    await rename(`${path}.live`, path)
    dead.close()
    disk.useAllInodes()
    const server = scope.add(createServer(), (taken) => taken.close())
    for (const name of ['engine.sock', 'other.sock']) {
      await expect(listenUnix(server, join(disk.path, name))).rejects.toMatchObject({
        code: 'SOCKET_FAILED',
        message: `cannot listen on ${join(disk.path, name)}: no space left in ${disk.path}`,
      })
    }
    expect(listed(disk.path)).toEqual(['engine.sock'])
    await disk.free()
    const bound = await listenUnix(server, path)
    await bound.release()
  })

  test('that has no inode left: a socket is removed all the same when it is released [S9]', async () => {
    await using scope = new Scope()
    const disk = scope.use(await SmallDisk.mount())
    const server = scope.add(createServer(), (taken) => taken.close())
    const bound = await listenUnix(server, join(disk.path, 'engine.sock'))
    disk.useAllInodes()
    await bound.release()
    expect(listed(disk.path)).toEqual([])
  })

  test('that has no inode left when a socket was deleted: the loss is told, and mended when there is one [S9] [S11]', async () => {
    await using scope = new Scope()
    const disk = scope.use(await SmallDisk.mount())
    const path = join(disk.path, 'engine.sock')
    const server = scope.add(createServer(), (taken) => taken.close())
    const told: (DproxyError | undefined)[] = []
    const bound = await listenUnix(server, path, { onChange: (lost) => told.push(lost) })
    scope.add(bound, (taken) => taken.release())
    await rm(path)
    disk.useAllInodes()
    await until('the loss is told', () => told.length > 0)
    expect(told).toMatchObject([{ code: 'SOCKET_FAILED', message: expect.stringContaining('no space left') }])
    await disk.free()
    await until('it is there again', () => existsSync(path))
    await until('that is told', () => told.length > 1)
    expect(told.slice(1)).toEqual([undefined])
    expect(listed(disk.path)).toEqual(['engine.sock'])
  })

  test('that has no inode left: `dproxy up` says so, and `dproxy host add` too [S9]', async () => {
    await using scope = new Scope()
    const disk = scope.use(await SmallDisk.mount())
    const world = scope.use(await World.create())
    const config = join(disk.path, 'config.yaml')
    const text = `hosts:\n  prod:\n    ssh: ssh://deploy@127.0.0.1:9\n    socket: ${join(disk.path, 'prod.sock')}\n`
    await writeFile(config, text)
    disk.useAllInodes()
    const up = await world.dproxy(['--config', config, 'up', '--lazy', 'prod'])
    expect([up.exitCode, up.stderr]).toEqual([1, expect.stringContaining(`no space left in ${disk.path}`)])
    const add = await world.dproxy(['--config', config, 'host', 'add', 'lab', 'ssh://deploy@127.0.0.1:9'])
    expect([add.exitCode, add.stderr]).toEqual([1, expect.stringContaining('no space left on its disk')])
    expect(await readFile(config, 'utf8')).toBe(text)
    expect(listed(disk.path)).toEqual(['config.yaml'])
  })
})
