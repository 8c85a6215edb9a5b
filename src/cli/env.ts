import { basename } from 'node:path'
import { DproxyError } from '../base/errors.js'
import { strings, text, type Command } from './command.js'
import { pick, registryOf, statusNow, withStopped } from './hosts.js'
import { controlClient } from './supervisor-process.js'

const SHELLS = ['sh', 'fish', 'powershell'] as const
type Shell = (typeof SHELLS)[number]

export const env: Command = {
  usage: 'env [names..]',
  summary: 'Print the command that points Docker clients of this shell at a host',
  positionals: { names: 'The host' },
  options: {
    shell: { type: 'string', choices: SHELLS, describe: 'Whose syntax; default: what $SHELL says' },
  },
  examples: [
    ['eval "$(dproxy env prod)"', 'docker in this shell now talks to prod'],
    ['dproxy env prod --shell fish | source', 'the same in fish'],
  ],
  run: async (words, io) => {
    const names = strings(words.names)
    if (names.length !== 1) {
      const what = names.length === 0 ? 'which host?' : 'a shell talks to one host at a time'
      throw new DproxyError('USAGE', what, { hint: 'name one: dproxy env prod' })
    }
    const registry = await registryOf(words, io)
    // Ad-hoc hosts are in no file; asking the supervisor is local and dials nothing.
    const [host] = pick(withStopped(await statusNow(controlClient(io)), registry), names).hosts
    if (!host) throw new DproxyError('HOST_UNKNOWN', 'no such host')
    const value = `unix://${host.socket}`
    if (words.json)
      io.out.write(`${JSON.stringify({ schemaVersion: 1, name: host.name, DOCKER_HOST: value })}\n`)
    else io.out.write(`${LINE[shellOf(text(words.shell), io.env.SHELL)](value)}\n`)
    return 0
  },
}

const shellOf = (asked: string | undefined, login: string | undefined): Shell =>
  SHELLS.find((shell) => shell === asked) ??
  (login !== undefined && basename(login) === 'fish' ? 'fish' : 'sh')

const PLAIN = /^[\w@%+=:,./-]+$/u

const LINE: Record<Shell, (value: string) => string> = {
  // Inside single quotes only the quote itself is special (POSIX 2.2.2).
  sh: (value) => `export DOCKER_HOST=${PLAIN.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`}`,
  // fish knows two escapes inside single quotes: \' and \\.
  fish: (value) => `set -gx DOCKER_HOST '${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`,
  powershell: (value) => `$Env:DOCKER_HOST = '${value.replaceAll("'", "''")}'`,
}
