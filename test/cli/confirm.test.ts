import { expect, test } from 'vitest'
import { confirmed } from '../../src/cli/confirm.js'
import { Desk } from './support.js'

const asked = async (answer: string | undefined, names: string[], yes?: boolean): Promise<string> => {
  await using desk = await Desk.create()
  desk.answer = answer
  const io = desk.io(
    () => undefined,
    () => undefined,
  )
  return await confirmed(names, 'stop', { json: false, quiet: false, yes }, io).then(
    () => 'agreed',
    ({ code, message }: { code: string; message: string }) => `${code}: ${message}`,
  )
}

test('only y and yes agree, in any letter case; silence and all else do not', async () => {
  for (const answer of ['y', 'Y', 'yes', ' YES ']) expect(await asked(answer, ['prod'])).toBe('agreed')
  for (const answer of ['', 'n', 'no', 'yesterday', 'yy', 'sure'])
    expect(await asked(answer, ['prod'])).toBe('STOPPED: nothing was changed: stop was not confirmed')
})

test('nobody is asked without need, or after --yes', async () => {
  expect(await asked(undefined, [])).toBe('agreed')
  expect(await asked(undefined, ['prod'], true)).toBe('agreed')
  expect(await asked('n', ['prod'], true)).toBe('agreed')
})

test('where nobody can be asked, the answer is no, and which hosts it is about is said', async () => {
  expect(await asked(undefined, ['prod'])).toContain('USAGE: prod is protected')
  expect(await asked(undefined, ['prod', 'lab'])).toContain('USAGE: prod and lab are protected')
})
