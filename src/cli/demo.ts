import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Scope } from '../base/scope.js'
import type { ExitCode } from '../base/errors.js'
import { text, type Command, type Words } from './command.js'
import type { Io } from './io.js'
import { loadDemo, loadSupervisor } from './lazy.js'
import { cell, paintFor, table } from './paint.js'
import { bringUp } from './up/up.js'

const ENGINES = ['embedded', 'local'] as const

export const demo: Command = {
  usage: 'demo',
  summary: 'Try dproxy without a server: two SSH hosts and their engines inside this process',
  options: {
    check: {
      type: 'boolean',
      describe: 'Run requests through both sockets, print what came of them, and end',
    },
    engine: {
      type: 'string',
      choices: ENGINES,
      default: 'embedded',
      describe:
        "What stands behind the hosts: small engines of the demo's own, or this machine's Docker engine",
    },
  },
  examples: [
    ['dproxy demo', 'two hosts to play with, until Ctrl-C'],
    ['dproxy demo --check', 'prove that the whole path works here'],
  ],
  run: async (words, io) => {
    await using scope = new Scope()
    const dir = scope.add(await mkdtemp(join(tmpdir(), 'dproxy-demo-')), (made) =>
      rm(made, { recursive: true, force: true }),
    )
    // A world of its own: neither the user's config, sockets, supervisor nor ssh_config is touched.
    const env = {
      ...io.env,
      DPROXY_RUNTIME_DIR: join(dir, 'run'),
      DPROXY_SSH_CONFIG: '/dev/null',
      SSH_AUTH_SOCK: '',
    }
    // Awaited here: a bare return would dispose of the scope while the demo runs.
    return await serve(dir, scope, words, { ...io, env })
  },
}

const serve = async (dir: string, scope: Scope, words: Words, io: Io): Promise<ExitCode> => {
  const { startDemoHosts, startTraffic, checkHosts } = await loadDemo()
  const { EventLog, runSupervisor } = await loadSupervisor()
  const engine = text(words.engine) === 'local' ? 'local' : 'embedded'
  const { hosts } = scope.use(await startDemoHosts({ dir, engine, env: io.env }))
  const { env, version, pid, onStop } = io
  let code: ExitCode = 0
  // With --json there is one document: that of the checks, where they are asked for.
  const shown = words.check === true && words.json ? { ...words, json: false, quiet: true } : words
  await runSupervisor({
    env,
    version,
    pid,
    onStop,
    foreground: true,
    log: EventLog.inMemory(),
    onReady: async (supervisor) => {
      code = await bringUp(hosts, shown, io)
      if (code !== 0) return supervisor.shutdown(0)
      if (words.check === true) {
        code = report(await checkHosts(hosts), words, io)
        return supervisor.shutdown(0)
      }
      if (engine === 'embedded') scope.use(startTraffic(hosts.map(({ socket }) => socket)))
      invite(
        dir,
        hosts.map(({ socket }) => socket),
        io,
      )
      return undefined
    },
  })
  return code
}

interface Row {
  readonly host: string
  readonly check: string
  readonly result: 'passed' | 'failed' | 'skipped'
  readonly detail: string
  readonly ms: number
}

const report = (rows: readonly Row[], { json }: Words, io: Io): ExitCode => {
  const counted = (wanted: Row['result']): number => rows.filter(({ result }) => result === wanted).length
  const [passed, failed, skipped] = [counted('passed'), counted('failed'), counted('skipped')]
  if (json) io.out.write(`${JSON.stringify({ schemaVersion: 1, checks: rows })}\n`)
  else {
    const paint = paintFor(io.out)
    const cells = rows.map(({ host, check, result, detail, ms }) => [
      cell(host),
      check,
      { passed: paint.green('✓ passed'), failed: paint.red('✗ failed'), skipped: paint.dim('– skipped') }[
        result
      ],
      `${ms} ms`,
      cell(detail),
    ])
    io.out.write(`\n${table([['HOST', 'CHECK', 'RESULT', 'TIME', 'DETAIL'], ...cells])}`)
    io.out.write(`\n${passed} checks passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`)
  }
  return failed === 0 ? 0 : 1
}

const invite = (dir: string, sockets: readonly string[], io: Io): void => {
  const [first = ''] = sockets
  io.err.write(`
Both hosts are served now, and a little traffic runs through them. In another terminal:

  docker -H unix://${first} ps
  docker -H unix://${first} logs -f web
  DPROXY_RUNTIME_DIR=${join(dir, 'run')} node ${io.self[1]} status --watch

Ctrl-C ends the demo; nothing of it stays behind.
`)
}
