import { setTimeout as sleep } from 'node:timers/promises'
import type { ControlClient } from '../control/client.js'
import type { Status } from '../control/messages.js'
import { asDproxyError } from '../base/errors.js'
import { userConfigPath } from '../base/paths.js'
import type { Registry } from '../registry/load.js'
import { strings, type Command, type Words } from './command.js'
import { nobody, noteVersion, pick, registryOf, statusNow, withStopped } from './hosts.js'
import type { Io } from './io.js'
import { noteLastWords } from './last-words.js'
import { paintFor, widthOf } from './paint.js'
import { redrawing } from './redraw.js'
import { statusTable } from './status-view.js'
import { controlClient } from './supervisor-process.js'

export const status: Command = {
  usage: 'status [names..]',
  aliases: ['ls', 'ps'],
  summary: 'Show every host and its state',
  positionals: { names: 'Names or @tags; none: all' },
  options: { watch: { type: 'boolean', alias: 'w', describe: 'Keep showing, on every change' } },
  examples: [
    ['dproxy status', 'a table of all hosts'],
    ['dproxy status prod --json | jq .hosts[0].state', 'for programs'],
    ['dproxy status --watch --json', 'one JSON document a line, on every change'],
  ],
  run: async (words, io) => {
    const registry = await registryOf(words, io)
    const client = controlClient(io)
    const show = (now: Status) => pick(withStopped(now, registry), strings(words.names))
    if (words.watch !== true) {
      const now = await statusNow(client)
      noteVersion(now, words, io)
      await noteLastWords(now, words, io)
      print(show(now), registry, words, io)
      return 0
    }
    const draw = drawing(words, io, registry)
    for await (const now of everyChange(client, io.interrupted)) draw(show(now))
    io.interrupted.throwIfAborted()
    return 0
  },
}

const print = (now: Status, { files }: Registry, { json }: Words, io: Io): void => {
  if (json) return io.out.write(`${JSON.stringify(now)}\n`)
  if (now.hosts.length > 0) return io.out.write(statusTable(now, paintFor(io.out), widthOf(io.out)))
  const where = files[0] ?? userConfigPath(io.env)
  return io.err.write(`no host is configured or running; write ${where}, or try: dproxy up ssh://user@host\n`)
}

const drawing = (words: Words, io: Io, registry: Registry): ((now: Status) => void) => {
  if (words.json || !io.out.isTTY) return (now) => print(now, registry, words, io)
  const draw = redrawing(io.out)
  return (now) => draw(statusTable(now, paintFor(io.out), widthOf(io.out)))
}

/** The status now and after each change, for ever; a supervisor that leaves or comes is a change too. */
async function* everyChange(client: ControlClient, signal: AbortSignal): AsyncGenerator<Status> {
  while (!signal.aborted) {
    try {
      yield* client.watch(signal)
    } catch (failure) {
      if (!signal.aborted && asDproxyError(failure).code !== 'SUPERVISOR_DOWN') throw failure
    }
    if (signal.aborted) return
    yield nobody()
    await sleep(1000, undefined, { signal }).catch(() => undefined)
  }
}
