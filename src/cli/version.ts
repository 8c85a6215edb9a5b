import type { Command } from './command.js'
import { statusNow } from './hosts.js'
import { controlClient } from './supervisor-process.js'

export const version: Command = {
  usage: 'version',
  summary: 'Print the versions of this command and of the running supervisor',
  examples: [
    ['dproxy version', 'dproxy 1.0.0'],
    ['dproxy version --json', 'for programs'],
  ],
  run: async ({ json }, io) => {
    const { supervisor } = await statusNow(controlClient(io))
    if (json) {
      const node = process.versions.node
      io.out.write(`${JSON.stringify({ schemaVersion: 1, version: io.version, node, supervisor })}\n`)
      return 0
    }
    io.out.write(`dproxy ${io.version}\n`)
    if (supervisor) io.out.write(`supervisor ${supervisor.version}, pid ${supervisor.pid}\n`)
    return 0
  },
}
