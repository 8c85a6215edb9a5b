import { readFile } from 'node:fs/promises'
import { IMAGE } from '../testbed/image.js'
import { buildkitCli } from '../testbed/parts.js'
import type { Command, Stage, Stock } from './cut-command.js'
import { fileOf, hasImage, sha256, sumOf } from './cut-stock.js'

const [CHANNEL, ANSWER, INSIDE, UPLOAD, INPUT] = [
  'before its channel',
  'before its answer',
  'inside its answer',
  'in its upload',
  'after its input ended',
] as const satisfies readonly Stage[]

// Copies take turns at a container: each has its own.
const create = ({ scene }: Stock, id: string) => scene.direct(['create', '--name', id, IMAGE])

/** Those that carry files and images. */
export const DATA_COMMANDS: readonly Command[] = [
  {
    name: 'cp, in',
    prepare: create,
    words: ({ file }, id) => ['cp', file, `${id}:/copied`],
    asks: /^PUT \S+\/archive/u,
    part: 10,
    stages: [CHANNEL, ANSWER, UPLOAD, INPUT],
    done: async ({ scene, sum }, id) => (await sumOf(scene, id, '/copied')) === sum,
  },
  {
    name: 'cp, out',
    prepare: create,
    words: ({ scene }, id) => ['cp', `${id}:/bin/busybox`, fileOf(scene, id)],
    asks: /^GET \S+\/archive/u,
    part: 50_000,
    stages: [ANSWER, INSIDE],
    done: async ({ scene }, id) =>
      (await sumOf(scene, id, '/bin/busybox')) === sha256(await readFile(fileOf(scene, id))),
  },
  {
    name: 'load',
    words: () => ['load'],
    options: ({ archive }) => ({ input: archive }),
    asks: /^POST \S+\/images\/load/u,
    part: 100,
    stages: [CHANNEL, UPLOAD, INPUT],
    done: ({ scene, imageId }) => hasImage(scene, imageId),
  },
  {
    name: 'save',
    words: ({ scene }, id) => ['save', '-o', fileOf(scene, id), IMAGE],
    asks: /^GET \S+\/images\/(?:get|\S+\/get)/u,
    part: 50_000,
    stages: [ANSWER, INSIDE],
    done: async ({ scene }, id) => {
      await scene.direct(['save', '-o', fileOf(scene, `${id}-whole`), IMAGE])
      return (
        sha256(await readFile(fileOf(scene, `${id}-whole`))) === sha256(await readFile(fileOf(scene, id)))
      )
    },
  },
  {
    name: 'import',
    words: (_, id) => ['import', '-', `dproxy-test/${id}:local`],
    options: ({ archive }) => ({ input: archive }),
    asks: /^POST \S+\/images\/create/u,
    part: 100,
    stages: [UPLOAD, INPUT],
    done: ({ scene }, id) => hasImage(scene, `dproxy-test/${id}:local`),
  },
  {
    name: 'build, classic',
    words: ({ context }, id) => ['build', '--network', 'none', '-t', `dproxy-test/${id}:local`, context],
    options: () => ({ env: { DOCKER_BUILDKIT: '0' } }),
    asks: /^POST \S+\/build/u,
    stages: [ANSWER, INSIDE, UPLOAD],
    done: ({ scene }, id) => hasImage(scene, `dproxy-test/${id}:local`),
  },
  {
    name: 'pull',
    words: ({ registry }) => ['pull', `${registry}/some/image:local`],
    asks: /^POST \S+\/images\/create/u,
    stages: [ANSWER, INSIDE],
    done: ({ scene, registry }) => hasImage(scene, `${registry}/some/image:local`),
  },
]

/** With a docker whose `build` can use BuildKit: its session is two upgraded connections. */
export const BUILDKIT: Command = {
  name: 'build, BuildKit',
  words: ({ context }, id) => {
    const how = ['--network', 'none', '--progress', 'plain', '-t', `dproxy-test/${id}:local`]
    return ['build', ...how, context]
  },
  options: () => ({ env: { DOCKER_BUILDKIT: '1' }, program: buildkitCli()! }),
  asks: /^POST \S+\/build/u,
  stages: [ANSWER, INSIDE],
  done: ({ scene }, id) => hasImage(scene, `dproxy-test/${id}:local`),
}
