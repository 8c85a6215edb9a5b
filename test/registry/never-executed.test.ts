import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cosmiconfig } from 'cosmiconfig'
import { expect, test } from 'vitest'
import { until } from '../testbed/until.js'
import { Desk, failureOf } from './support.js'

const SCRIPTS = ['.dproxyrc.js', '.dproxyrc.cjs', '.dproxyrc.ts', 'dproxy.config.js', 'dproxy.config.cjs']

/** A directory full of scripts that leave a mark when they run. */
const plantScripts = async (desk: Desk, dir: string): Promise<string> => {
  const mark = join(desk.home, `was-run-${dir}`)
  const script = `require('node:fs').writeFileSync(${JSON.stringify(mark)}, '')\nmodule.exports = {}\n`
  for (const name of [...SCRIPTS, 'package.js', '.config/config.js', '.config/config.cjs']) {
    await desk.write(join(desk.project, dir, name), script)
  }
  return mark
}

test('no script beside a config is ever run, not even one addressed to the library that finds it', async () => {
  await using desk = await Desk.create()
  const mark = await plantScripts(desk, 'cloned')
  const bait = await plantScripts(desk, 'bait')
  await desk.write(join(desk.home, '.config/dproxy/config.js'), 'throw new Error("was run")')
  const cloned = join(desk.project, 'cloned')
  await desk.write(join(cloned, '.dproxyrc'), '$import: ./dproxy.config.cjs\nhosts: {a: {ssh: a}}\n')

  const before = process.cwd()
  try {
    // The library looks into the working directory of the process, whatever it is asked to search.
    process.chdir(cloned)
    const { message } = await failureOf(() => desk.load(undefined, {}, cloned))
    expect(message).toContain('line 1: unknown key "$import"')
    expect((await failureOf(() => desk.load(join(cloned, 'dproxy.config.cjs')))).code).toBe('CONFIG_INVALID')

    // The same scripts do run behind the library's usual door, a moment later: the bait is real.
    process.chdir(join(desk.project, 'bait'))
    cosmiconfig('dproxy')
    await until('the bait was taken', () => existsSync(bait))
    expect(existsSync(mark)).toBe(false)
  } finally {
    process.chdir(before)
  }
})
