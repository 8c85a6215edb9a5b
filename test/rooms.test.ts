import { execa } from 'execa'
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { TempDir } from './testbed/temp-dir.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

interface Finding {
  readonly filename: string
  readonly code: string
}

/** Lints a copy of src with `planted` files added, under the project's own configuration. */
const lint = async (planted: Record<string, string> = {}): Promise<Finding[]> => {
  await using dir = await TempDir.create()
  for (const name of ['src', '.oxlintrc.json']) {
    await cp(join(ROOT, name), join(dir.path, name), { recursive: true })
  }
  await symlink(join(ROOT, 'node_modules'), join(dir.path, 'node_modules'))
  for (const [name, text] of Object.entries(planted)) {
    await mkdir(dirname(join(dir.path, name)), { recursive: true })
    await writeFile(join(dir.path, name), text)
  }
  const oxlint = join(ROOT, 'node_modules/.bin/oxlint')
  const { stdout } = await execa(oxlint, ['-f', 'json'], { cwd: dir.path, reject: false })
  const { diagnostics, number_of_files: files } = JSON.parse(stdout) as {
    diagnostics: Finding[]
    number_of_files: number
  }
  expect(files).toBeGreaterThan(50)
  return diagnostics
}

/** What each planted file does wrong, where it stands, and what it says. */
const WRONG = [
  ['proxy never meets ssh', 'src/proxy/planted.ts', "export { Lane } from '../ssh/lane.js'"],
  ['ssh never meets proxy', 'src/ssh/planted.ts', "export { Proxy } from '../proxy/proxy.js'"],
  ['ssh2 is imported in src/ssh only', 'src/supervisor/ssh2.ts', "export { default } from 'ssh2'"],
  ['ssh2 has no side door', 'src/demo/planted.ts', "export { default } from 'ssh2/lib/client.js'"],
  ['ink is imported in src/tui only', 'src/cli/ink.ts', "export { render } from 'ink'"],
  ['react is imported in src/tui only', 'src/control/react.ts', "export { useState } from 'react'"],
  ['base imports no package', 'src/base/package.ts', "export { default } from 'p-limit'"],
  ['base imports no room', 'src/base/room.ts', "export type * from '../control/messages.js'"],
  [
    'cli takes supervisor by import() only',
    'src/cli/planted.ts',
    "export * from '../supervisor/link/link.js'",
  ],
  ['control knows no registry', 'src/control/planted.ts', "export * from '../registry/schema.js'"],
  ['registry knows no control', 'src/registry/planted.ts', "export * from '../control/messages.js'"],
  ['docker knows no registry', 'src/docker/planted.ts', "export * from '../registry/schema.js'"],
  ['supervisor knows no command line', 'src/supervisor/cli.ts', "export * from '../cli/paint.js'"],
  ['tui knows no supervisor', 'src/tui/planted.ts', "export * from '../supervisor/link/link.js'"],
  ['main knows cli and base only', 'src/main.ts', "export { Lane } from './ssh/lane.js'"],
] as const

const CIRCLE = {
  'src/base/one.ts': "import { two } from './two.js'\nexport const one = (): number => two()\n",
  'src/base/two.ts': "import { one } from './one.js'\nexport const two = (): number => one()\n",
}

describe('the rooms of src', () => {
  test('keep their import directions as they are', async () => {
    expect(await lint()).toEqual([])
  })

  describe('are guarded by the linter:', () => {
    let findings: Finding[]
    beforeAll(async () => {
      const planted = WRONG.map(([, filename, text]) => [filename, `${text}\n`])
      findings = await lint({ ...(Object.fromEntries(planted) as Record<string, string>), ...CIRCLE })
    })

    test.each(WRONG)('%s', (_, filename) => {
      const code = 'eslint(no-restricted-imports)'
      expect(findings).toContainEqual(expect.objectContaining({ filename, code }))
    })

    test('files do not import each other in a circle', () => {
      const code = 'import(no-cycle)'
      expect(findings).toContainEqual(expect.objectContaining({ filename: 'src/base/one.ts', code }))
    })
  })

  test('let cli take supervisor by import() in lazy.ts', async () => {
    const text = "export const link = () => import('../supervisor/link/link.js')\n"
    expect(await lint({ 'src/cli/lazy.ts': text })).toEqual([])
  })
})
