import { expect, test } from 'vitest'
import { picked, planImport } from '../../../src/registry/import/plan.js'
import { Desk } from '../support.js'

const found = (...names: string[]) => names.map((name) => ({ name, entry: { ssh: name } }))
const names = (hosts: readonly { name: string }[]) => hosts.map(({ name }) => name)

test('patterns pick names in any letter case, each once and in order', () => {
  const hosts = found('prod-1', 'Prod-2', 'lab', 'x')
  expect(names(picked(hosts, ['prod-*', '*-1', 'LAB']))).toEqual(['prod-1', 'Prod-2', 'lab'])
  expect(names(picked(hosts, []))).toEqual(['prod-1', 'Prod-2', 'lab', 'x'])
  expect(picked(hosts, ['prod'])).toEqual([])
})

test('names that are taken or forbidden stay out, each with its reason', async () => {
  await using desk = await Desk.create()
  const { hosts } = await desk.loadText('hosts:\n  prod: {ssh: prod}\n  other: {ssh: elsewhere}\n')
  const present = hosts.map((host, index) => ({ host, file: '/c.yaml', line: index + 2 }))
  const plan = planImport(
    found('PROD', 'prod', 'Other', 'new', 'NEW', '_x', 'a b', 'h\u001b[31m'),
    '',
    present,
  )
  expect(names(plan.added)).toEqual(['new'])
  expect(plan.skipped.map(({ name, known, reason }) => [name, known, reason.split(':')[0]])).toEqual([
    ['PROD', false, 'the name is taken by the host on line 2 of /c.yaml; --prefix gives others'],
    ['prod', true, 'it is there already, on line 2 of /c.yaml'],
    ['Other', false, 'the name is taken by the host on line 3 of /c.yaml; --prefix gives others'],
    ['NEW', false, 'another one has the same name'],
    ['_x', false, expect.stringContaining('its name must begin with a letter or a digit')],
    ['a b', false, expect.stringContaining('its name must begin with a letter or a digit')],
    ['h\\x1b[31m', false, expect.stringContaining('its name must begin with a letter or a digit')],
  ])
})

test('a prefix mends names that are taken or begin wrongly, not addresses that are forbidden', () => {
  const plan = planImport(found('_x', 'ok', '$(id)'), 'team-', [])
  expect(plan.added).toEqual([
    { name: 'team-_x', entry: { ssh: '_x' } },
    { name: 'team-ok', entry: { ssh: 'ok' } },
  ])
  expect(plan.skipped).toHaveLength(1)
  expect(plan.skipped[0]?.reason).toContain('ssh must not have $ in the host name')
})
