import { createHash, randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { IMAGE } from '../testbed/image.js'
import { until } from '../testbed/until.js'
import { describeHosts } from './both.js'

const MEGABYTE = 1024 * 1024

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

describeHosts('docker runs containers through dproxy', (both) => {
  test('docker run --rm prints what the container prints, and the container is gone', () =>
    both(async (host) => {
      const name = host.fresh()
      expect(await host.docker(['run', '--rm', '--name', name, IMAGE, 'echo', 'hello'])).toBe('hello')
      await until('the container is gone', async () => {
        return (await host.docker(['ps', '-aq', '--filter', `name=${name}`])) === ''
      })
    }))

  test('docker run -i fed from a pipe answers after its input ended', () =>
    both(async (host) => {
      const input = randomBytes(5 * MEGABYTE)
      const sum = await host.docker(['run', '--rm', '-i', IMAGE, 'sha256sum'], { input })
      expect(sum).toBe(`${sha256(input)}  -`)
    }))

  test('docker run -i gets back all it sent, long after its input ended', () =>
    both(async (host) => {
      const input = randomBytes(5 * MEGABYTE)
      const command = ['sh', '-c', 'cat >/tmp/all; sleep 1; base64 /tmp/all']
      const back = await host.docker(['run', '--rm', '-i', IMAGE, ...command], { input })
      expect(sha256(Buffer.from(back, 'base64'))).toBe(sha256(input))
    }))

  test('docker run keeps the two outputs apart and passes the exit code on', () =>
    both(async (host) => {
      const result = await host.ends(['run', '--rm', IMAGE, 'sh', '-c', 'echo out; echo err >&2; exit 9'])
      expect(result).toMatchObject({ exitCode: 9, stdout: 'out', stderr: 'err' })
    }))

  test('docker exec passes the exit code on', () =>
    both(async (host) => {
      await using box = await host.container(['run', '-d'], 'sleep', '1000')
      expect(await host.ends(['exec', box.name, 'sh', '-c', 'exit 7'])).toMatchObject({ exitCode: 7 })
      expect(await host.ends(['exec', box.name, 'true'])).toMatchObject({ exitCode: 0 })
    }))

  test('docker exec -i fed from a pipe answers after its input ended', () =>
    both(async (host) => {
      await using box = await host.container(['run', '-d'], 'sleep', '1000')
      const input = randomBytes(5 * MEGABYTE)
      expect(await host.docker(['exec', '-i', box.name, 'sha256sum'], { input })).toBe(`${sha256(input)}  -`)
    }))

  test('docker attach speaks with a running container, and its end of input reaches it', () =>
    both(async (host) => {
      // `create -i`, not `run -di`: only then does the end of the client's input close the container's.
      await using box = await host.container(['create', '-i'], 'sh', '-c', 'cat; echo ended')
      await host.docker(['start', box.name])
      await using attached = host.start(['attach', box.name], { input: 'open' })
      attached.running.stdin.write('hello\n')
      await until('the echo', () => attached.text === 'hello\n')
      attached.running.stdin.end()
      expect(await attached.running).toMatchObject({ exitCode: 0, stdout: 'hello\nended' })
    }))

  test('docker logs -f shows each line when it is written, and ends with the container', () =>
    both(async (host) => {
      const script = 'echo one; until [ -e /go ]; do sleep 0.1; done; echo two'
      await using box = await host.container(['run', '-d'], 'sh', '-c', script)
      await using logs = host.start(['logs', '-f', box.name])
      await until('the first line', () => logs.text === 'one\n')
      await host.docker(['exec', box.name, 'touch', '/go'])
      expect(await logs.running).toMatchObject({ exitCode: 0, stdout: 'one\ntwo' })
    }))

  test('docker wait returns when the container ends', () =>
    both(async (host) => {
      const script = 'until [ -e /go ]; do sleep 0.1; done; exit 5'
      await using box = await host.container(['run', '-d'], 'sh', '-c', script)
      await using waiting = host.start(['wait', box.name])
      await host.docker(['exec', box.name, 'touch', '/go'])
      expect(await waiting.running).toMatchObject({ exitCode: 0, stdout: '5' })
    }))

  test('docker stop asks a container to end', () =>
    both(async (host) => {
      const script = 'trap "exit 0" TERM; while :; do sleep 0.1; done'
      await using box = await host.container(['run', '-d'], 'sh', '-c', script)
      expect(await host.docker(['stop', box.name])).toBe(box.name)
      const state = ['inspect', '--format', '{{.State.Status}} {{.State.ExitCode}}', box.name]
      expect(await host.docker(state)).toBe('exited 0')
    }))

  test('docker rm removes a container, a running one with -f only', () =>
    both(async (host) => {
      await using box = await host.container(['run', '-d'], 'sleep', '1000')
      const refused = await host.ends(['rm', box.name])
      expect(refused).toMatchObject({
        exitCode: 1,
        stderr: expect.stringMatching(/running container|is running/u),
      })
      expect(await host.docker(['rm', '-f', box.name])).toBe(box.name)
      expect(await host.docker(['ps', '-aq', '--filter', `name=${box.name}`])).toBe('')
    }))
})
