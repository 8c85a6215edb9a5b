import { expect, test } from 'vitest'
import { IMAGE } from '../testbed/image.js'
import { describeHosts } from './both.js'

// The prompt of a shell that has nothing else to say; printed once the shell reads.
const PROMPT = /\/ # /u
// docker tells the engine the size of its window a moment after the start.
const AWAIT_SIZE = 'until stty size | grep "^24 80$"; do sleep 0.1; done\r'

describeHosts(
  'docker gives a terminal through dproxy',
  (both) => {
    test('docker run -it', () =>
      both(async (host) => {
        await using terminal = host.pty(['run', '--rm', '-it', IMAGE, 'sh'])
        await terminal.sees(PROMPT)
        terminal.type('tty\r')
        await terminal.sees(/^\/dev\/(?:pts\/\d+|console)\r$/mu)
        terminal.type(AWAIT_SIZE)
        await terminal.sees(/^24 80\r$/mu)
        terminal.type('exit 3\r')
        expect(await terminal.exitCode).toBe(3)
      }))

    test('docker exec -it', () =>
      both(async (host) => {
        await using box = await host.container(['run', '-d'], 'sleep', '1000')
        await using terminal = host.pty(['exec', '-it', box.name, 'sh'])
        await terminal.sees(PROMPT)
        terminal.type(AWAIT_SIZE)
        await terminal.sees(/^24 80\r$/mu)
        terminal.type('exit 4\r')
        expect(await terminal.exitCode).toBe(4)
      }))

    test('Ctrl-C reaches the command in the container', () =>
      both(async (host) => {
        await using terminal = host.pty(['run', '--rm', '-it', IMAGE, 'sh'])
        await terminal.sees(PROMPT)
        terminal.type("sh -c 'echo ready; exec sleep 1000'\r")
        await terminal.sees(/^ready\r$/mu)
        terminal.type('\u0003')
        await terminal.sees(PROMPT)
        terminal.type('exit\r')
        expect(await terminal.exitCode).toBe(130)
      }))
  },
  { parts: ['script'] },
)
