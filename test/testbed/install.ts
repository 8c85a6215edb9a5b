/**
 * Before the first test: root on Debian or Ubuntu gets the parts that are missing from its package manager.
 * Everybody else is told which tests will be skipped for want of them.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { Scope } from '../../src/base/scope.js'
import { ownUid } from '../../src/base/paths.js'
import { ALL_PARTS, lacking, packagesFor, program } from './parts.js'

export default async (): Promise<void> => {
  if (lacking(ALL_PARTS).length > 0 && mayInstall()) await install(packagesFor(ALL_PARTS))
  const missing = lacking(ALL_PARTS)
  if (missing.length > 0)
    say(`not on this machine: ${missing.join(', ')}. The tests that need it are skipped.`)
}

const mayInstall = (): boolean =>
  ownUid() === 0 && existsSync('/etc/debian_version') && program('apt-get') !== undefined

const install = async (wanted: string[]): Promise<void> => {
  try {
    await using scope = new Scope()
    await keepServicesDown(scope)
    say('asking the package manager what it has')
    await run('apt-get', 'update', '-q')
    const packages = await known(wanted)
    say(`installing ${packages.join(' ')}`)
    // --no-remove: nothing of the machine's own gives way to a test.
    await run('apt-get', 'install', '-q', '-y', '--no-install-recommends', '--no-remove', ...packages)
  } catch (failure) {
    say(`could not install what is missing: ${failure instanceof Error ? failure.message : String(failure)}`)
  }
}

// A package that brings a server also starts it. Nobody who runs a test wants an open port 22 from it.
const keepServicesDown = async (scope: Scope): Promise<void> => {
  if (existsSync(POLICY)) return
  scope.add(POLICY, (path) => rm(path, { force: true }))
  await writeFile(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
}

// invoke-rc.d(8) asks this program; 101 forbids the action.
const POLICY = '/usr/sbin/policy-rc.d'

// Releases differ: docker-cli and docker-buildx are packages of their own in some only.
const known = async (packages: string[]): Promise<string[]> => {
  const answers = await Promise.allSettled(
    packages.map((name) => run('apt-cache', 'show', '--no-all-versions', name)),
  )
  return packages.filter((_, at) => answers[at]?.status === 'fulfilled')
}

const run = (file: string, ...args: string[]) =>
  promisify(execFile)(file, args, {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    maxBuffer: 64 * 1024 * 1024,
  })

const say = (sentence: string): void => void process.stderr.write(`testbed: ${sentence}\n`)
