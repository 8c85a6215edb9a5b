import { asDproxyError, DproxyError } from '../base/errors.js'
import { count } from '../base/text.js'
import type { HostStatus } from '../control/messages.js'
import type { Command, Words } from './command.js'
import { confirmed } from './confirm.js'
import { drainOf, meantHosts, say, STOP_OPTIONS } from './down.js'
import { statusNow } from './hosts.js'
import type { Io } from './io.js'
import { renewSupervisor } from './renew-supervisor.js'
import { controlClient } from './supervisor-process.js'
import { exitCode, refused, report, showTheWay } from './up/up.js'
import type { Outcome } from './up/outcome.js'

export const restart: Command = {
  usage: 'restart [names..]',
  summary: 'Stop hosts and start them again; a changed config takes effect with `up`',
  positionals: { names: 'Names or @tags; none: the only host that runs' },
  options: {
    ...STOP_OPTIONS,
    drain: {
      type: 'string',
      requiresArg: true,
      describe:
        'How long open streams may go on before they are cut; 5s unless told, with --supervisor 60s; 0s cuts at once',
    },
    supervisor: {
      type: 'boolean',
      describe:
        'Renew the background process itself, after an upgrade: the new one is ready before it takes over',
    },
  },
  examples: [
    ['dproxy restart prod', 'a new SSH link behind the same socket'],
    ['dproxy restart --all --drain 30s', 'every running host, with time for its streams'],
    ['dproxy restart --supervisor', 'this version takes over every host; no client finds a socket missing'],
  ],
  run: async (words, io) => {
    if (words.supervisor === true) return renewSupervisor(words, io)
    const drainMs = drainOf(words)
    const client = controlClient(io)
    const hosts = await meantHosts(await statusNow(client), words, io)
    const running = hosts.filter(({ state }) => state !== 'stopped')
    const names = running.filter((host) => host.protected).map(({ name }) => name)
    await confirmed(names, 'restart', words, io)
    const outcomes = new Map<string, Outcome>()
    await Promise.all(
      hosts.map(async (host) => outcomes.set(host.name, await restartOne(host, drainMs, words, io))),
    )
    await showTheWay(hosts, outcomes, client, words, io)
    io.interrupted.throwIfAborted()
    report(await statusNow(client), outcomes, words, io)
    return exitCode([...outcomes.values()])
  },
}

const restartOne = async (
  { name, state }: HostStatus,
  drainMs: number,
  words: Words,
  io: Io,
): Promise<Outcome> => {
  if (state === 'stopped') {
    return refused(new DproxyError('STOPPED', 'it is not running', { hint: `start it: dproxy up ${name}` }))
  }
  try {
    const { cut } = await controlClient(io).restart(name, drainMs, io.ask !== undefined, io.interrupted)
    if (cut > 0) say(io, words, `${name}: ${count(cut, 'stream')} cut`)
    return { action: 'restarted', askedAtMs: Date.now() }
  } catch (failure) {
    return refused(asDproxyError(failure))
  }
}
