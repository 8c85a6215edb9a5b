import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { IMAGE } from '../testbed/image.js'
import { describeHosts } from './both.js'

describeHosts('docker moves files through dproxy', (both) => {
  test('docker cp brings a file in and out again, unchanged', () =>
    both(async (host) => {
      await using box = await host.container(['create'], 'true')
      const [there, back] = [host.file(), host.file()]
      const bytes = randomBytes(3_000_000)
      await writeFile(there, bytes)
      await host.docker(['cp', there, `${box.name}:/tmp/file`])
      await host.docker(['cp', `${box.name}:/tmp/file`, back])
      expect((await readFile(back)).equals(bytes)).toBe(true)
    }))

  test('docker cp brings a directory in and out again', () =>
    both(async (host) => {
      await using box = await host.container(['create'], 'true')
      const [there, back] = [host.file(), host.file()]
      await mkdir(join(there, 'deep'), { recursive: true })
      await writeFile(join(there, 'deep', 'name'), host.name)
      await host.docker(['cp', there, `${box.name}:/tmp/tree`])
      await host.docker(['cp', `${box.name}:/tmp/tree`, back])
      expect(await readFile(join(back, 'deep', 'name'), 'utf8')).toBe(host.name)
    }))

  test('docker save and docker load bring an image out and in again', () =>
    both(async (host) => {
      await using image = host.image()
      const archive = host.file()
      await host.docker(['tag', IMAGE, image.name])
      const id = await host.docker(['inspect', '--format', '{{.Id}}', image.name])
      await host.docker(['save', '-o', archive, image.name])
      await host.docker(['rmi', image.name])
      expect(await host.docker(['images', '-q', image.name])).toBe('')
      expect(await host.docker(['load', '-i', archive])).toContain(image.name)
      expect(await host.docker(['inspect', '--format', '{{.Id}}', image.name])).toBe(id)
    }))

  test('docker export and docker import make an image of a container', () =>
    both(async (host) => {
      await using image = host.image()
      await using box = await host.container(['create'], 'true')
      const [note, archive] = [host.file(), host.file()]
      await writeFile(note, host.name)
      await host.docker(['cp', note, `${box.name}:/note`])
      await host.docker(['export', '-o', archive, box.name])
      // Fed from a pipe: the archive ends where the input ends.
      await host.docker(['import', '-', image.name], { input: await readFile(archive) })
      expect(await host.docker(['run', '--rm', image.name, '/bin/cat', '/note'])).toBe(host.name)
    }))
})
