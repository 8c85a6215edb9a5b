import { execa } from 'execa'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { expect, test } from 'vitest'
import { describeWith } from './describe-with.js'
import { Dockerd } from './dockerd.js'
import { IMAGE, imageArchive, importArguments } from './image.js'
import { isAlive } from './processes.js'
import { until } from './until.js'

const docker = (engine: Dockerd, ...args: string[]) =>
  execa('docker', ['-H', `unix://${engine.socket}`, ...args])

describeWith(['dockerd', 'docker', 'busybox'], 'the Docker engine of the testbed', () => {
  test('runs containers, and leaves no process, mount, control group or file', async () => {
    let pids: number[] = []
    let dir = ''
    {
      await using engine = await Dockerd.start()
      await docker(engine, ...importArguments(await imageArchive(engine.dir)))
      await docker(engine, 'run', '-d', IMAGE, 'sleep', '1000')
      pids = await until('the container runs', () => engine.pids().length >= 5 && engine.pids())
      dir = engine.dir
    }
    expect(pids.filter(isAlive)).toEqual([])
    expect(existsSync(dir)).toBe(false)
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(dir)
    expect(
      readdirSync('/sys/fs/cgroup', { recursive: true }).filter(
        (path) => basename(String(path)) === basename(dir),
      ),
    ).toEqual([])
  })

  test('keeps its images when it is killed and started again', async () => {
    await using engine = await Dockerd.start()
    await docker(engine, ...importArguments(await imageArchive(engine.dir)))
    await engine.kill()
    expect(existsSync(engine.socket)).toBe(true)
    await expect(docker(engine, 'version')).rejects.toThrow('Cannot connect to the Docker daemon')
    await engine.restart()
    expect((await docker(engine, 'images', '-q', IMAGE)).stdout).toMatch(/^[0-9a-f]{12}$/u)
  })
})
