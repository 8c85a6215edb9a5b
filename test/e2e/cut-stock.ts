import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { bigImage } from '../testbed/big-image.js'
import { IMAGE } from '../testbed/image.js'
import type { Stock } from './cut-command.js'
import type { CutScene } from './cut.js'

/** Makes what the commands need. `registry`: see {@link Stock}. */
export const stockOf = async (scene: CutScene, registry: string): Promise<Stock> => {
  const work = join(scene.world.dir, 'work')
  const image = bigImage(`dproxy-test/${scene.id}:loaded`, MEGABYTE)
  const archive = Buffer.concat([...image.archive()])
  const [file, context] = [join(work, 'some-file'), join(work, 'context')]
  await mkdir(context)
  await writeFile(file, archive)
  await writeFile(join(context, 'big'), archive)
  await writeFile(join(context, 'Dockerfile'), `FROM ${IMAGE}\nCOPY big /\nRUN echo begun && sleep 300\n`)
  const [box, ticker, stubborn] = await Promise.all([
    scene.container('box', 'exec sleep 1000'),
    scene.container('ticker', 'while :; do echo tick; sleep 0.5; done'),
    scene.container('stubborn', 'trap "" TERM; while :; do sleep 1; done'),
  ])
  return {
    scene,
    box,
    ticker,
    stubborn,
    file,
    sum: sha256(archive),
    archive,
    imageId: image.id,
    context,
    registry,
  }
}

const MEGABYTE = 1024 * 1024

/** A file of ours, for a client of that name. */
export const fileOf = ({ world }: CutScene, id: string): string => join(world.dir, 'work', id)

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** The checksum of a file in a container, past all that is tested. */
export const sumOf = async (scene: CutScene, container: string, path: string): Promise<string> => {
  const copy = fileOf(scene, `${container}-copy`)
  await scene.direct(['cp', `${container}:${path}`, copy])
  return sha256(await readFile(copy))
}

export const hasImage = async (scene: CutScene, name: string): Promise<boolean> =>
  (await scene.direct(['inspect', '-f', '{{.Id}}', name])).exitCode === 0
