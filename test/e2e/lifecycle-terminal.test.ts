import { join } from 'node:path'
import { expect, test } from 'vitest'
import { World } from '../testbed/cli.js'
import { commandOf, isAlive } from '../testbed/processes.js'
import { Pty } from '../testbed/pty.js'
import { until } from '../testbed/until.js'
import { Entrance } from './getting-in.js'
import { describeOurs, DPROXY, must, stands, statusOf, supervisors } from './lifecycle.js'

const WAYS = [
  ['Ctrl-C', '\x03'],
  ['SIGTERM', 'SIGTERM'],
  ['SIGHUP', 'SIGHUP'],
] as const

// Hidden, and not shown again.
// oxlint-disable-next-line no-control-regex
const CURSOR_LEFT_HIDDEN = /\x1b\[\?25l(?![^]*\x1b\[\?25h)/u

describeOurs('a terminal comes and goes', (hosts) => {
  const withHosts = async (): Promise<World> => {
    const world = await World.create()
    await world.configure(hosts())
    return world
  }

  test('in the foreground it serves on when nobody reads its log any more [L9]', async () => {
    await using world = await withHosts()
    const running = world.start(['up', 'prod', '--foreground'])
    await until('prod is up', async () => (await statusOf(world, 'prod')).hosts[0]?.state === 'up')
    running.stderr.destroy()
    running.stdout.destroy()
    // Each restart writes to the log.
    for (let times = 0; times < 3; times += 1) await must(world, ['restart', 'prod'])
    await until('it serves', async () => (await world.docker('prod', ['ps'])).exitCode === 0)
    running.kill('SIGTERM')
    expect((await running).exitCode).toBe(0)
    expect([stands(world, 'prod'), stands(world)]).toEqual([false, false])
  })

  test('a terminal that hangs up stops what runs in its foreground, cleanly [L9]', async () => {
    await using world = await withHosts()
    await using terminal = onTerminal(world, [...DPROXY, 'up', 'prod', '--foreground'])
    await terminal.sees(/prod.* up: /u)
    expect(await world.docker('prod', ['ps'])).toMatchObject({ exitCode: 0 })
    const served = world.processes()
    terminal.hangUp()
    await until('it is gone', () => served.every((pid) => !isAlive(pid)))
    expect([stands(world, 'prod'), stands(world)]).toEqual([false, false])
  })

  test('what was brought up in the background does not care for its terminal [L9]', async () => {
    await using world = await withHosts()
    await using terminal = onTerminal(world, [
      'sh',
      '-c',
      `${DPROXY.join(' ')} up prod; echo done; exec sleep 60`,
    ])
    await terminal.sees(/● up[^]*done/u)
    const [pid] = supervisors(world)
    terminal.hangUp()
    await terminal.exitCode
    await until('its shell is gone', () => world.processes().every((each) => each === pid))
    expect(isAlive(pid!)).toBe(true)
    expect(await world.docker('prod', ['ps'])).toMatchObject({ exitCode: 0 })
  })

  test.for(WAYS)('status --watch leaves its terminal as it was after %s [L11]', async ([, how]) => {
    await using world = await withHosts()
    await must(world, ['up', 'prod'])
    await using terminal = onTerminal(world, ['sh', '-c', shellAround(['status', '--watch'])])
    await terminal.sees(/● up/u)
    await end(world, terminal, 'status --watch', how)
    await terminal.sees(/same settings/u)
    expect(terminal.output).not.toMatch(CURSOR_LEFT_HIDDEN)
  })

  test.for(WAYS)(
    'up leaves its terminal as it was after %s, while a secret is typed [L11]',
    async ([, how]) => {
      await using entrance = await Entrance.open(hosts().prod.engineSocket!)
      const { world } = entrance
      await entrance.configure({ identityFile: await entrance.encryptedKey('open sesame') })
      await using terminal = onTerminal(world, ['sh', '-c', shellAround(['up', 'prod'])])
      await terminal.sees(/passphrase[^\n]*: ?$/iu)
      terminal.type('open se')
      await end(world, terminal, 'up prod', how)
      await terminal.sees(/same settings/u)
      expect(terminal.output).not.toMatch(CURSOR_LEFT_HIDDEN)
      expect(terminal.output).not.toContain('open se')
      await until('what was begun is taken back', () => supervisors(world).length === 0)
    },
  )
})

const onTerminal = (world: World, command: readonly string[]) =>
  Pty.start(command, { env: world.env, cwd: join(world.dir, 'work') })

/** A shell that runs dproxy, and says whether the terminal has the settings it had before. */
const shellAround = (words: readonly string[]): string =>
  // The shell outlives the Ctrl-C that is meant for dproxy.
  `trap : INT; before=$(stty -g); ${[...DPROXY, ...words].join(' ')}; [ "$(stty -g)" = "$before" ] && echo same settings`

/** Presses Ctrl-C, or sends a signal to the dproxy of these words. */
const end = async (world: World, terminal: Pty, words: string, how: string): Promise<void> => {
  if (!how.startsWith('SIG')) return terminal.type(how)
  const isIt = (pid: number) => commandOf(pid) === [...DPROXY, words].join(' ')
  const pid = await until('it runs', () => world.processes().find(isIt))
  process.kill(pid, how)
}
