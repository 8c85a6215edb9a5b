/**
 * Makes a clone ready to run: installs the packages when they are missing or not those of the lock file, and
 * builds when dist is missing or older than what it is made of. Silent when there is nothing to do.
 * Needs Node and npm, nothing else.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

if (!isInstalled()) {
  const how = existsSync('package-lock.json') ? 'ci' : 'install'
  // Quiet, and complete even where NODE_ENV says production.
  npm('installing packages', how, '--include=dev', '--no-audit', '--no-fund', '--loglevel=error')
}
if (!isBuilt()) npm('building', 'run', '--silent', 'build')

/** Every package that the lock file demands is there in that version, as npm itself noted when it installed. */
function isInstalled() {
  const there = packagesOf('node_modules/.package-lock.json')
  const wanted = existsSync('package-lock.json') ? packagesOf('package-lock.json') : {}
  return (
    there !== undefined &&
    Object.entries(wanted)
      // The project itself, and what npm may leave out on this platform.
      .filter(([path, { optional }]) => path.startsWith('node_modules/') && !optional)
      .every(([path, { version }]) => path in there && there[path].version === version)
  )
}

function packagesOf(lockFile) {
  try {
    return JSON.parse(readFileSync(lockFile, 'utf8')).packages
  } catch {
    return undefined
  }
}

/** dist is newer than every source; a directory's own time tells of removed files. */
function isBuilt() {
  if (!existsSync('dist/main.js')) return false
  const sources = [
    'package.json',
    'tsconfig.json',
    'src',
    ...readdirSync('src', { recursive: true }).map((name) => join('src', name)),
  ]
  const built = statSync('dist/main.js').mtimeMs
  return sources.every((path) => statSync(path).mtimeMs <= built)
}

function npm(what, ...words) {
  process.stderr.write(`dproxy: ${what} (npm ${words[0]})\n`)
  const { status, error, signal, stdout, stderr } = spawnSync('npm', words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: Infinity,
    shell: process.platform === 'win32',
  })
  if (status === 0) return
  // npm adds its whole usage to what went wrong.
  const said = `${stdout ?? ''}${stderr ?? ''}`.split('\n').slice(0, 40).join('\n')
  const why = error?.message ?? (signal ? `it was killed by ${signal}` : `npm ended with ${status}`)
  process.stderr.write(`${said}\ndproxy: ${what} failed: ${why}\n`)
  process.exit(status ?? 1)
}
