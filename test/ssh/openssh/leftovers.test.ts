import { build } from 'esbuild'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { resolveTarget } from '../../../src/ssh/config/resolve.js'
import { describeWith } from '../../testbed/describe-with.js'
import { commandOf, withEnvironment } from '../../testbed/processes.js'
import { Sshd } from '../../testbed/sshd.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { until } from '../../testbed/until.js'
import { never, targetOf } from '../support.js'
import { openAt, opensshFailure, PLAIN_ENV, runDirIn } from './support.js'

/** A run directory, and an environment by which everything that was started for it can be found. */
const marked = async (scope: Scope) => {
  const runDir = await runDirIn(scope)
  return { runDir, env: { ...PLAIN_ENV, LANE_OF: runDir }, left: () => withEnvironment('LANE_OF', runDir) }
}

describeWith(['sshd'], "of the system's ssh nothing is left", () => {
  test('after a lane was closed: no process, no socket, no directory; and while it lives all is ours alone', async () => {
    await using scope = new Scope()
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const { runDir, env, left } = await marked(scope)
    const lane = await openAt(runDir, targetOf(sshd), { env })
    const twin = await openAt(runDir, targetOf(sshd), { env })
    const dirs = await readdir(runDir)
    expect(dirs).toHaveLength(2)
    for (const dir of dirs) {
      expect((await stat(join(runDir, dir))).mode & 0o777).toBe(0o700)
      expect((await stat(join(runDir, dir, 'c'))).mode & 0o777).toBe(0o600)
    }
    lane.close()
    await lane.gone
    expect(await twin.ping(5000, never)).toBeGreaterThan(0)
    twin.close()
    await twin.gone
    expect(await readdir(runDir)).toEqual([])
    await until('no process is left', () => left().length === 0, 3000)
  })

  test('after a start that failed, timed out or was given up', async () => {
    await using scope = new Scope()
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const { runDir, env, left } = await marked(scope)
    const nothingLeft = async () => {
      expect(await readdir(runDir)).toEqual([])
      await until('no process is left', () => left().length === 0, 3000)
    }
    await opensshFailure(scope, targetOf(sshd, { knownHostsFiles: ['/dev/null'] }), { runDir, env })
    await nothingLeft()
    // A proxy command that never says anything, and does not care to be told to end.
    const proxyCommand = ['sh', '-c', 'trap "" TERM HUP; while :; do sleep 1; done']
    const stuck = targetOf(sshd, { proxyCommand, connectTimeoutMs: 500 })
    expect(await opensshFailure(scope, stuck, { runDir, env })).toMatchObject({ code: 'CONNECT_TIMEOUT' })
    await nothingLeft()
    const stop = new AbortController()
    const reason = new Error('enough')
    const opening = openAt(runDir, { ...stuck, connectTimeoutMs: 20_000 }, { env, signal: stop.signal })
    const ended = expect(opening).rejects.toBe(reason)
    await until('ssh runs', () => left().some((pid) => commandOf(pid).startsWith('ssh ')))
    stop.abort(reason)
    await ended
    await nothingLeft()
  })

  test('after the process that used it was killed', async () => {
    await using scope = new Scope()
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const { runDir, env, left } = await marked(scope)
    const program = join(scope.use(await TempDir.create()).path, 'holder.mjs')
    await build({
      entryPoints: [fileURLToPath(new URL('holder.ts', import.meta.url))],
      outfile: program,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      logLevel: 'error',
    })
    const target = targetOf(sshd)
    const words = [program, JSON.stringify([await resolveTarget(target, env, never), target, runDir])]
    const holder = scope.add(
      spawn(process.execPath, words, { env, stdio: ['ignore', 'pipe', 'inherit'] }),
      (taken) => taken.kill('SIGKILL'),
    )
    await once(holder.stdout, 'data')
    expect(await readdir(runDir)).toHaveLength(1)
    expect(left().some((pid) => commandOf(pid).startsWith('ssh '))).toBe(true)
    holder.kill('SIGKILL')
    await until('no process is left', () => left().length === 0, 5000)
    expect(await readdir(runDir)).toEqual([])
  })

  test('of a run that could not clean up behind itself, once the next one starts', async () => {
    await using scope = new Scope()
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const { runDir, env } = await marked(scope)
    // The largest process id there can be, which nobody has (proc(5), pid_max).
    for (const name of [`ssh-${2 ** 22}-abcdef`, `ssh-${process.pid}-abcdef`, 'ssh-notours', 'other']) {
      await mkdir(join(runDir, name), { mode: 0o700 })
      await writeFile(join(runDir, name, 'c'), '')
    }
    const lane = await openAt(runDir, targetOf(sshd), { env })
    lane.close()
    await lane.gone
    expect((await readdir(runDir)).toSorted()).toEqual(
      ['other', 'ssh-notours', `ssh-${process.pid}-abcdef`].toSorted(),
    )
  })

  test('and a run directory that is too long, or open to others, is refused before anything is started', async () => {
    await using scope = new Scope()
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const { runDir, env } = await marked(scope)
    const long = join(runDir, 'x'.repeat(100))
    await mkdir(long, { mode: 0o700 })
    const failure = await opensshFailure(scope, targetOf(sshd), { runDir: long, env })
    expect(failure).toMatchObject({
      code: 'SOCKET_PATH_TOO_LONG',
      hint: expect.stringContaining('DPROXY_RUNTIME_DIR') as string,
    })
    const open = join(runDir, 'open')
    await mkdir(open, { mode: 0o755 })
    expect((await opensshFailure(scope, targetOf(sshd), { runDir: open, env })).code).toBe(
      'SUPERVISOR_FAILED',
    )
  })
})
