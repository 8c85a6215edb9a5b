import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { IMAGE } from '../testbed/image.js'
import { buildkitCli } from '../testbed/parts.js'
import { type Host, describeHosts } from './both.js'

// A directory with a Dockerfile, and enough beside it to be worth sending.
const context = async (host: Host): Promise<string> => {
  const dir = host.file()
  await mkdir(dir)
  await writeFile(
    join(dir, 'Dockerfile'),
    `FROM ${IMAGE}\nCOPY note big /\nRUN cat /note >/copied\nCMD ["cat", "/copied"]\n`,
  )
  await writeFile(join(dir, 'note'), host.fresh())
  await writeFile(join(dir, 'big'), Buffer.alloc(4_000_000, host.name))
  return dir
}

describeHosts('docker build through dproxy', (both) => {
  test('the classic builder', () =>
    both(async (host) => {
      await using image = host.image()
      const dir = await context(host)
      const env = { DOCKER_BUILDKIT: '0' }
      await host.docker(['build', '--network', 'none', '-t', image.name, dir], { env })
      expect(await host.docker(['run', '--rm', image.name])).toMatch(new RegExp(`^dproxy-${host.name}-`, 'u'))
    }))
})

describeHosts(
  'docker build with BuildKit through dproxy',
  (both) => {
    test('the session on its upgraded connections', () =>
      both(async (host) => {
        await using image = host.image()
        const dir = await context(host)
        const env = { ...host.world.dockerEnv(host.name), DOCKER_BUILDKIT: '1' }
        const words = ['build', '--network', 'none', '--progress', 'plain', '-t', image.name, dir]
        const built = await host.world.spawn(buildkitCli()!, words, { env })
        expect(built, built.stderr).toMatchObject({ exitCode: 0 })
        expect(await host.docker(['run', '--rm', image.name])).toMatch(
          new RegExp(`^dproxy-${host.name}-`, 'u'),
        )
      }))
  },
  { parts: ['buildkit'] },
)
