import { execa } from 'execa'
import { expect, test } from 'vitest'
import { Dockerd } from '../testbed/dockerd.js'
import { IMAGE, imageArchive, importArguments } from '../testbed/image.js'
import { program } from '../testbed/parts.js'
import { until } from '../testbed/until.js'
import { CutScene, tell } from './cut.js'
import { describeOurs } from './lifecycle.js'

const LONG = 'echo begun; exec sleep 300'

// Each prints something once it is under way. (`docker stats` is none of them: it never ends, at whatever socket.)
const COMMANDS: readonly (readonly [string, (box: string, ticker: string) => string[]])[] = [
  ['exec … exit 7', (box) => ['exec', box, 'sh', '-c', 'echo begun; sleep 300; exit 7']],
  ['exec … exit 0', (box) => ['exec', box, 'sh', '-c', LONG]],
  ['exec -i', (box) => ['exec', '-i', box, 'sh', '-c', `cat; ${LONG}`]],
  ['run', () => ['run', '--rm', IMAGE, 'sh', '-c', LONG]],
  ['run -i', () => ['run', '--rm', '-i', IMAGE, 'sh', '-c', `cat; ${LONG}`]],
  ['attach', (_, ticker) => ['attach', ticker]],
  ['logs -f', (_, ticker) => ['logs', '-f', ticker]],
  ['events', () => ['events', '--since', '0']],
]

describeOurs('an engine that is killed', () => {
  test('ends its streams within a second, none as a success, and is served again when it is back [T5] [T24]', async () => {
    await using engine = await Dockerd.start()
    const at = ['-H', `unix://${engine.socket}`]
    await execa(program('docker')!, [...at, ...importArguments(await imageArchive(engine.dir))])
    await using scene = await CutScene.start(engine.socket, { gated: false })
    const box = await scene.container('box', 'exec sleep 1000')
    const ticker = await scene.container('ticker', 'while :; do echo tick; sleep 0.5; done')
    const input = Buffer.from('a line of input\n')
    // The same commands beside dproxy, at the engine's own socket.
    const pairs = await Promise.all(
      COMMANDS.map(async ([name, words]) => ({
        name,
        through: await scene.start(words(box, ticker), { input }),
        direct: await scene.start(words(box, ticker), { input, env: { DOCKER_HOST: at[1]! } }),
      })),
    )
    for (const { name, through, direct } of pairs)
      await until(`${name} is under way`, () => through.text !== '' && direct.text !== '')
    const open = async () => (await scene.status()).streams.open
    expect(await open()).toBeGreaterThanOrEqual(COMMANDS.length)

    process.kill(engine.pid(), 'SIGKILL')
    const killedAtMs = performance.now()
    await until('its streams have ended', async () => (await open()) === 0)
    expect(performance.now() - killedAtMs).toBeLessThan(1000)
    const rows = []
    for (const { name, through, direct } of pairs) {
      const [mine, theirs] = await Promise.all([through.end, direct.end])
      expect(mine, name).toMatchObject({ hung: false, code: expect.any(Number) })
      expect([mine.code, theirs.code], `${name}: ${mine.text}`).not.toContain(0)
      rows.push([name, String(mine.code), String(theirs.code)])
    }
    await tell('the engine is killed with -9', ['command', 'through dproxy', "at the engine's socket"], rows)

    await engine.restart()
    await until('it serves again', async () => (await scene.world.docker('prod', ['ps'])).exitCode === 0)
    expect((await scene.status()).reconnects).toBe(0)
  })
})
