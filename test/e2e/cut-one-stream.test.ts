import { expect, test } from 'vitest'
import { until } from '../testbed/until.js'
import type { Client } from './cut-client.js'
import { CutScene } from './cut.js'
import { describeOurs } from './lifecycle.js'

describeOurs('docker exec, which asks for its exit code on a second connection,', (hosts) => {
  const running = async (): Promise<{ scene: CutScene; client: Client } & AsyncDisposable> => {
    const scene = await CutScene.start(hosts().prod.engineSocket!)
    const box = await scene.container('box', 'exec sleep 1000')
    const client = await scene.start(['exec', box, 'sh', '-c', 'echo begun; sleep 300'])
    await until('it runs', () => client.text === 'begun\n')
    return { scene, client, [Symbol.asyncDispose]: () => scene[Symbol.asyncDispose]() }
  }

  test('does not say that it succeeded when its first is cut by hand and the second lives on [T24]', async () => {
    await using at = await running()
    const { scene, client } = at
    const streams = await scene.control.streams('prod')
    expect(streams).toHaveLength(2)
    await scene.control.cut(streams[1]!.id)
    const { code, text, hung } = await client.end
    expect(hung).toBe(false)
    expect(code, text).not.toBe(0)
  })
})
