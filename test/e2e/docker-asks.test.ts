import { execa } from 'execa'
import { expect, test } from 'vitest'
import { IMAGE } from '../testbed/image.js'
import { program } from '../testbed/parts.js'
import { until } from '../testbed/until.js'
import { describeHosts } from './both.js'

describeHosts('docker asks through dproxy', (both) => {
  test('docker version names the server', () =>
    both(async (host) => {
      expect(await host.docker(['version', '--format', '{{.Server.Version}}'])).toMatch(/^\d+\.\d+/u)
    }))

  test('docker info comes from the engine behind the socket', () =>
    both(async (host) => {
      const { engineSocket } = host.facts
      const id = await host.docker(['info', '--format', '{{.ID}}'])
      expect(id).not.toBe('')
      if (engineSocket === null) return
      const direct = ['-H', `unix://${engineSocket}`, 'info', '--format', '{{.ID}}']
      expect(id).toBe((await execa(program('docker')!, direct)).stdout)
    }))

  test('docker ps lists a running container', () =>
    both(async (host) => {
      await using box = await host.container(['run', '-d'], 'sleep', '1000')
      const row = ['ps', '--filter', `name=${box.name}`, '--format', '{{.Names}} {{.Image}} {{.State}}']
      expect(await host.docker(row)).toBe(`${box.name} ${IMAGE} running`)
    }))

  test('docker images lists the image', () =>
    both(async (host) => {
      const row = ['images', '--format', '{{.Repository}}:{{.Tag}}', IMAGE]
      expect(await host.docker(row)).toBe(IMAGE)
    }))

  test('docker events shows a container come and go while it happens', () =>
    both(async (host) => {
      const since = await host.docker(['info', '--format', '{{.SystemTime}}'])
      const name = host.fresh()
      const filter = ['--filter', `container=${name}`, '--format', '{{.Action}}']
      await using events = host.start(['events', '--since', since, ...filter])
      await host.docker(['run', '--rm', '--name', name, IMAGE, 'true'])
      await until('the last event', () => events.text.includes('destroy'))
      const told = events.text.trim().split('\n')
      expect(told.filter((action) => ['create', 'start', 'die', 'destroy'].includes(action))).toEqual([
        'create',
        'start',
        'die',
        'destroy',
      ])
    }))

  test('docker stats measures a container', () =>
    both(async (host) => {
      await using box = await host.container(['run', '-d'], 'sleep', '1000')
      const row = ['stats', '--no-stream', '--format', '{{.Name}} {{.CPUPerc}} {{.PIDs}}', box.name]
      expect(await host.docker(row)).toMatch(new RegExp(`^${box.name} \\d+\\.\\d+% 1$`, 'u'))
    }))

  test('docker stats goes on measuring until it is told to stop', () =>
    both(async (host) => {
      await using box = await host.container(['run', '-d'], 'sleep', '1000')
      await using stats = host.start(['stats', '--format', '{{.Name}}', box.name])
      await until('three measurements', () => stats.text.split(box.name).length > 3)
    }))
})
