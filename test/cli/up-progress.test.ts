import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import { showProgress } from '../../src/cli/up/progress.js'
import { hostStatus } from '../control/support.js'
import { Desk } from './support.js'

/** The progress of two hosts on a terminal, and what was written there since the last look. */
const onTerminal = async () => {
  const desk = await Desk.create()
  let written = ''
  const io = desk.io(
    () => undefined,
    (text) => (written += text),
  )
  const err = { ...io.err, isTTY: true }
  const words = { json: false, quiet: false }
  const progress = showProgress([{ name: 'prod' }, { name: 'lab' }], words, { ...io, err })
  const look = () => {
    const seen = stripVTControlCharacters(written)
    written = ''
    return seen
  }
  return { progress, look, [Symbol.asyncDispose]: () => desk[Symbol.asyncDispose]() }
}

const onTheWay = hostStatus('lab', { state: 'connecting', stage: 'login' })

test('a host that is done is told at once, above those on their way', async () => {
  await using rig = await onTerminal()
  rig.progress.show(onTheWay)
  rig.look()
  rig.progress.settled(hostStatus('prod'), 'started')
  expect(rig.look()).toMatch(/prod {2}✓ up .*\n(?:.*\n)*lab .*◐ login/u)
})

test('nothing is written while a person types; which hosts got done meanwhile is told afterwards, once', async () => {
  await using rig = await onTerminal()
  rig.progress.show(onTheWay)
  rig.progress.pause()
  rig.look()
  rig.progress.show(hostStatus('prod', { state: 'connecting', stage: 'connect' }))
  rig.progress.settled(hostStatus('prod'), 'started')
  expect(rig.look()).toBe('')
  rig.progress.resume()
  const after = rig.look()
  expect(after).toMatch(/prod {2}✓ up .*\n(?:.*\n)*lab .*◐ login/u)
  expect(after.match(/prod/gu)).toHaveLength(1)
  rig.progress.end()
  expect(rig.look()).not.toContain('prod')
})

test('what was kept is told also when everything ends while a person is asked', async () => {
  await using rig = await onTerminal()
  rig.progress.pause()
  rig.progress.settled(hostStatus('prod'), 'started')
  rig.progress.settled(hostStatus('lab'), 'started')
  expect(rig.look()).toBe('')
  rig.progress.end()
  expect(rig.look()).toMatch(/^prod {2}✓ up .*\nlab {3}✓ up .*\n$/u)
})
