import { execa } from 'execa'
import { readdirSync, readlinkSync } from 'node:fs'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { describeWith } from './describe-with.js'
import { Netlab } from './netlab.js'
import type { Netns } from './netns.js'
import { Sshd } from './sshd.js'
import type { TunFaults } from './tun-relay.js'

/** Runs a program in a network, to any end. */
const runIn = ({ launcher }: Netns, words: readonly string[], timeout = 10_000) => {
  const [file = '', ...rest] = [...launcher, ...words]
  return execa(file, rest, { reject: false, timeout })
}

/** How the near side finds a port: its greeting, or why there is none. */
const greetingOf = async ({ near }: Netlab, host: string, port: number, limitMs?: number) => {
  const script = `exec 3<>/dev/tcp/${host}/${port} && read -r line <&3 && echo "$line"`
  const { stdout, stderr, timedOut } = await runIn(near, ['bash', '-c', script], limitMs)
  return timedOut ? 'silence' : stdout || stderr
}

/** Two networks with an SSH server in the far one; `greeting` is what the near one hears of it. */
const start = async (scope: Scope) => {
  const lab = scope.use(await Netlab.start())
  const sshd = scope.use(await Sshd.start({ netns: lab.far, hostKeyTypes: ['ed25519'] }))
  return { lab, greeting: (limitMs?: number) => greetingOf(lab, sshd.host, sshd.port, limitMs) }
}

/** The processes in a network namespace, by what the kernel calls it. */
const inside = (network: string): string[] =>
  readdirSync('/proc').filter((name) => /^\d+$/u.test(name) && networkOf(name) === network)

const networkOf = (pid: string | number): string | undefined => {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`)
  } catch {
    return undefined
  }
}

describeWith(['sshd', 'netns'], 'two networks of the testbed', () => {
  test('are joined by a wire, know of nothing else, and end with their scope', async () => {
    let networks: string[] = []
    {
      await using scope = new Scope()
      const { lab, greeting } = await start(scope)
      expect(await greeting()).toContain('SSH-2.0-OpenSSH')
      expect(await lab.near.run('ip', 'route', 'show', 'default')).toBe('')
      networks = [lab.near, lab.far].map(({ pid }) => networkOf(pid)!)
      expect(new Set([...networks, networkOf('self')]).size).toBe(3)
      for (const network of networks) expect(inside(network)).not.toEqual([])
    }
    for (const network of networks) expect(inside(network)).toEqual([])
  })
})

describeWith(['sshd', 'netns', 'iptables'], 'a wire of the testbed', () => {
  test('loses packets in each direction, in both and by chance, until it is healed', async () => {
    await using scope = new Scope()
    const { lab, greeting } = await start(scope)
    const directions = (['in', 'out', 'both'] as const).map((each) => () => lab.drop(each))
    for (const fault of [...directions, () => lab.loss(100)]) {
      await fault()
      expect(await greeting(500)).toBe('silence')
      await lab.heal()
      expect(await greeting()).toContain('SSH-2.0')
    }
  })

  test('refuses, is pulled, and works again when it is healed', async () => {
    await using scope = new Scope()
    const { lab, greeting } = await start(scope)
    await lab.reset()
    expect(await greeting()).toContain('refused')
    await lab.heal()
    await lab.linkDown()
    expect(await greeting()).toContain('unreachable')
    await lab.heal()
    expect(await greeting()).toContain('SSH-2.0')
    expect(await greetingOf(lab, lab.blackhole, 22, 500)).toBe('silence')
  })
})

const MANY = 300
const RECEIVER = `
const got = []
const socket = require('node:dgram').createSocket('udp4', (message) => {
  if (String(message) !== 'end') return got.push(Number(message))
  console.log(JSON.stringify(got))
  process.exit()
})
socket.bind(9, process.argv[1], () => console.error('listening'))`
const SENDER = `
const { setTimeout: sleep } = require('node:timers/promises')
const socket = require('node:dgram').createSocket('udp4')
const send = (word) => socket.send(String(word), 9, process.argv[1])
const main = async () => {
  for (let at = 0; at < ${MANY}; at += 1) await sleep(1, send(at))
  await sleep(200)
  for (let at = 0; at < 20; at += 1) await sleep(1, send('end'))
  socket.close()
}
main()`

/** What arrives at the far side of numbered packets that the near side sends, in order of arrival. */
const arrivals = async (wire: TunFaults): Promise<number[]> => {
  await using lab = await Netlab.start({ wire })
  const receiver = runIn(lab.far, [process.execPath, '-e', RECEIVER, lab.far.address])
  await new Promise((resolve) => void receiver.stderr.once('data', resolve))
  await runIn(lab.near, [process.execPath, '-e', SENDER, lab.far.address])
  return JSON.parse((await receiver).stdout) as number[]
}

const SENT = Array.from({ length: MANY }, (_, at) => at)
const inOrder = (numbers: readonly number[]) => numbers.toSorted((one, other) => one - other)

describeWith(['netns', 'tun'], 'a relay of the testbed', () => {
  test.concurrent('carries packets as they come, when nothing else is asked of it', async () => {
    expect(await arrivals({})).toEqual(SENT)
  })

  test.concurrent('loses some', async () => {
    const got = await arrivals({ loss: 0.3 })
    expect(got).toEqual(inOrder(got))
    expect(got.length).toBeGreaterThan(MANY * 0.5)
    expect(got.length).toBeLessThan(MANY * 0.9)
  })

  test.concurrent('doubles some', async () => {
    const got = await arrivals({ duplicate: 0.3 })
    expect([...new Set(got)]).toEqual(SENT)
    expect(got.length).toBeGreaterThan(MANY * 1.1)
    expect(got.length).toBeLessThan(MANY * 1.5)
  })

  test.concurrent.for<[string, TunFaults]>([
    ['some overtake', { delayMs: 20, reorder: 0.3 }],
    ['some take longer', { delayMs: 20, jitterMs: 15 }],
  ])('brings them out of order when %s', async ([, wire]) => {
    const got = await arrivals(wire)
    expect(got).not.toEqual(SENT)
    expect(inOrder(got)).toEqual(SENT)
  })
})
