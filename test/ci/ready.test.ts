import { execa } from 'execa'
import { existsSync } from 'node:fs'
import { cp, mkdir, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { TempDir } from '../testbed/temp-dir.js'

const READY = fileURLToPath(new URL('../../.ci/ready.mjs', import.meta.url))

/** A project with one package, which lies beside it, and whose build is `script`. */
const project = async (dir: string, script: string): Promise<void> => {
  await mkdir(join(dir, '.ci'))
  await mkdir(join(dir, 'src'))
  await mkdir(join(dir, 'part'))
  await cp(READY, join(dir, '.ci/ready.mjs'))
  await writeFile(join(dir, 'src/main.ts'), '')
  await writeFile(join(dir, 'tsconfig.json'), '{}')
  const part = { version: '1.0.0' }
  await writeFile(join(dir, 'part/package.json'), JSON.stringify({ name: 'part', ...part }))
  const self = { name: 'whole', version: '1.0.0', dependencies: { part: 'file:part' } }
  await writeFile(join(dir, 'package.json'), JSON.stringify({ ...self, scripts: { build: script } }))
  const packages = { '': self, part, 'node_modules/part': { resolved: 'part', link: true } }
  const lock = { name: 'whole', version: '1.0.0', lockfileVersion: 3, requires: true, packages }
  await writeFile(join(dir, 'package-lock.json'), JSON.stringify(lock))
}

const BUILD = `node -e "fs.mkdirSync('dist',{recursive:true}),fs.writeFileSync('dist/main.js','')"`

const ready = (dir: string) => execa(process.execPath, [join(dir, '.ci/ready.mjs')], { reject: false })

test('a fresh clone is installed and built, and then there is nothing to do or say', async () => {
  await using dir = await TempDir.create()
  await project(dir.path, BUILD)
  expect(await ready(dir.path)).toMatchObject({ exitCode: 0, stdout: '' })
  expect(existsSync(join(dir.path, 'dist/main.js'))).toBe(true)
  expect(existsSync(join(dir.path, 'node_modules/.package-lock.json'))).toBe(true)
  expect(await ready(dir.path)).toMatchObject({ exitCode: 0, stdout: '', stderr: '' })
})

test('a changed source is built again', async () => {
  await using dir = await TempDir.create()
  await project(dir.path, BUILD)
  await ready(dir.path)
  const later = new Date(Date.now() + 10_000)
  await utimes(join(dir.path, 'src/main.ts'), later, later)
  expect((await ready(dir.path)).stderr).toBe('dproxy: building (npm run)')
})

test('a removed source is built again', async () => {
  await using dir = await TempDir.create()
  await project(dir.path, BUILD)
  await writeFile(join(dir.path, 'src/old.ts'), '')
  await ready(dir.path)
  await rm(join(dir.path, 'src/old.ts'))
  expect((await ready(dir.path)).stderr).toBe('dproxy: building (npm run)')
})

test('packages that are not those of the lock file are installed again', async () => {
  await using dir = await TempDir.create()
  await project(dir.path, BUILD)
  await ready(dir.path)
  await writeFile(join(dir.path, 'node_modules/.package-lock.json'), JSON.stringify({ packages: {} }))
  expect((await ready(dir.path)).stderr).toContain('dproxy: installing packages (npm ci)')
})

test('a build that fails says so once, and its exit code is passed on', async () => {
  await using dir = await TempDir.create()
  await project(dir.path, `node -e "console.log('no such type'),process.exit(3)"`)
  const result = await ready(dir.path)
  expect(result).toMatchObject({ exitCode: 3, stdout: '' })
  expect(result.stderr).toContain('no such type')
  expect(result.stderr).toMatch(/dproxy: building failed: npm ended with 3$/u)
})
