import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { chmod, copyFile, rename } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { DOCTOR_STAGES, type DoctorStage, type StageReport } from '../../src/supervisor/doctor/report.js'
import { type RunOptions, World } from '../testbed/cli.js'
import type { Sshd } from '../testbed/sshd.js'
import { TempDir } from '../testbed/temp-dir.js'
import { hostOf } from './lifecycle.js'

export interface HostReport {
  host: string
  ok: boolean
  stages: StageReport[]
}

/** What `doctor --json` prints, and how it ended. */
export const diagnose = async (world: World, names: string[] = [], options: RunOptions = {}) => {
  const { exitCode, stdout, stderr } = await world.dproxy(['doctor', '--json', ...names], options)
  expect(stderr).toBe('')
  const { schemaVersion, hosts } = JSON.parse(stdout) as { schemaVersion: number; hosts: HostReport[] }
  expect(schemaVersion).toBe(1)
  for (const { ok, stages } of hosts) {
    expect(stages.map(({ stage }) => stage)).toEqual(DOCTOR_STAGES)
    expect(ok).toBe(stages.every(({ state }) => state !== 'failed'))
    for (const { state, ms, error } of stages) {
      expect(ms === null).toBe(state === 'not reached')
      expect(error !== null).toBe(state === 'failed' || state === 'warning')
    }
  }
  return { exitCode, hosts }
}

export const stageOf = ({ stages }: HostReport, name: DoctorStage): StageReport =>
  stages.find(({ stage }) => stage === name)!

export const withState = ({ stages }: HostReport, state: StageReport['state']): string[] =>
  stages.filter((each) => each.state === state).map(({ stage }) => stage)

interface Expected {
  stage: DoctorStage
  code: string
  exitCode: number
  said: (string | RegExp)[]
  next: string
  /** What was not tried because of it. */
  unreached: DoctorStage[]
}

/** Doctor fails at one stage only, says the same as `up` does, and tells what to do; in text as well. */
export const failsAt = async (
  world: World,
  { stage, code, exitCode, said, next, unreached }: Expected,
): Promise<HostReport> => {
  const { exitCode: ended, hosts } = await diagnose(world, ['prod'])
  const [host] = hosts
  if (!host) throw new Error('no report')
  expect(withState(host, 'failed'), JSON.stringify(host, null, 1)).toEqual([stage])
  const { error } = stageOf(host, stage)
  expect(error).toMatchObject({ code, hint: expect.stringContaining(next) as string })
  for (const each of said) expect(error?.message).toMatch(each)
  expect(withState(host, 'not reached')).toEqual(unreached)
  expect(ended).toBe(exitCode)

  const told = await world.dproxy(['doctor', 'prod'])
  expect(told).toMatchObject({ exitCode, stderr: '' })
  expect(told.stdout).toMatch(new RegExp(`^  ✗ failed       ${stage} +\\d+ m?s$`, 'mu'))
  expect(told.stdout).toContain(`\n      next: ${error?.hint?.split('\n')[0]}\n`)
  expect(told.stdout).toContain(`prod: ✗ failed: ${stage}`)

  const up = await world.dproxy(['up', 'prod'])
  expect(up.stderr).toContain(error?.message)
  expect(up.exitCode).toBe(exitCode)
  return host
}

export const AFTER_CONNECT = ['banner', 'host key', 'login'] as const
export const AT_ENGINE = ['streamlocal', 'remote socket', 'engine', 'version', 'clock'] as const

export const worldOf = async (sshd: Sshd, more: object = {}, settings: object = {}): Promise<World> => {
  const world = await World.create()
  const entry = world.entry('prod', hostOf(sshd, '/nowhere/docker.sock'))
  await world.config({ ...settings, hosts: { prod: { ...entry, ...more } } })
  return world
}

// Whether this machine has a keychain must not matter.
export const WITHOUT_KEYCHAIN = { secretStore: 'file' }
export const PASSPHRASE = 'correct horse battery'

export const encryptedKey = async (sshd: Sshd): Promise<string> => {
  const file = join(sshd.dir, 'encrypted')
  await copyFile(sshd.keyFile, file)
  await chmod(file, 0o600)
  await promisify(execFile)('ssh-keygen', ['-q', '-p', '-P', '', '-N', PASSPHRASE, '-f', file])
  return file
}

/** A Unix socket that takes connections and never says a word; `die` leaves the socket behind, dead. */
export const listening = async () => {
  const scope = new Scope()
  const { path: dir } = scope.use(await TempDir.create())
  const path = join(dir, 'silent.sock')
  const server = createServer((client) => client.on('error', () => undefined).resume())
  await once(server.listen(path), 'listening')
  scope.add(server, (each) => each.close())
  const die = async () => {
    // Node's close() removes the name that was bound.
    await rename(path, `${path}.dead`)
    server.close()
    await once(server, 'close')
    await rename(`${path}.dead`, path)
  }
  return { dir, path, die, [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose]() }
}

/** Somebody who is not root and can run commands. */
export function ordinaryUser(): string | undefined {
  return readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .find(([, , uid, , , , shell]) => uid !== '0' && /\/(?:ba|da)?sh$/u.test(shell ?? ''))?.[0]
}
