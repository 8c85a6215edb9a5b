import { expect, test } from 'vitest'
import { DproxyError } from '../../src/base/errors.js'
import { Questioner } from '../../src/cli/questions.js'
import type { Question } from '../../src/control/messages.js'
import { Desk } from './support.js'
import { until } from '../testbed/until.js'

const question = (id: string, ...prompts: Question['prompts']): Question => ({
  id,
  kind: 'keyboard-interactive',
  text: `code for ${id}\u001b[2J`,
  prompts,
})

/** A person who is asked through a command line, and what was answered in their name. */
const setUp = async (ask: (question: string, signal?: AbortSignal) => Promise<string>) => {
  const desk = await Desk.create()
  let err = ''
  const io = {
    ...desk.io(
      () => undefined,
      (text) => (err += text),
    ),
    ask: (text: string, signal?: AbortSignal) => ask(`shown ${text}`, signal),
    askSecret: (text: string, signal?: AbortSignal) => ask(`hidden ${text}`, signal),
  }
  const answers: [string, readonly string[] | null][] = []
  const drawn: string[] = []
  const canvas = { pause: () => void drawn.push('pause'), resume: () => void drawn.push('resume') }
  const asker = new Questioner(io, (id, given) => void answers.push([id, given]), canvas)
  return {
    asker,
    answers,
    drawn,
    said: () => err,
    desk,
    [Symbol.asyncDispose]: () => desk[Symbol.asyncDispose](),
  }
}

test('every prompt is asked, shown or hidden as the server wants it, and nothing in it is obeyed', async () => {
  const asked: string[] = []
  await using rig = await setUp(async (text) => {
    asked.push(text)
    return String(asked.length)
  })
  const prompts = [
    { text: 'User:', echo: true },
    { text: 'Code:\u0007', echo: false },
  ]
  void rig.asker.see([{ name: 'prod', question: question('1', ...prompts) }])
  await until('it is answered', () => rig.answers.length === 1)
  expect(rig.answers).toEqual([['1', ['1', '2']]])
  expect(asked).toEqual(['shown User: ', 'hidden Code:\\x07 '])
  expect(rig.said()).toBe('prod: code for 1\\x1b[2J\n')
  await until('the screen is given back', () => rig.drawn.length === 2)
  expect(rig.drawn).toEqual(['pause', 'resume'])
})

test('two hosts that ask at once are asked one after the other, each once', async () => {
  let atOnce = 0
  let most = 0
  await using rig = await setUp(async () => {
    atOnce += 1
    most = Math.max(most, atOnce)
    await new Promise((resolve) => setImmediate(resolve))
    atOnce -= 1
    return 'x'
  })
  const hosts = ['a', 'b'].map((name) => ({ name, question: question(name, { text: '?', echo: true }) }))
  void rig.asker.see(hosts)
  void rig.asker.see(hosts)
  await until('both are answered', () => rig.answers.length === 2)
  expect(most).toBe(1)
})

test('a question that somebody else has answered is taken from the screen', async () => {
  let taken: AbortSignal | undefined
  await using rig = await setUp(
    (_, signal) =>
      new Promise((_resolve, reject) => {
        taken = signal
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
      }),
  )
  void rig.asker.see([{ name: 'prod', question: question('1', { text: '?', echo: true }) }])
  await until('it is asked', () => taken !== undefined)
  await rig.asker.see([{ name: 'prod', question: null }])
  expect(rig.drawn).toEqual(['pause', 'resume'])
  expect(rig.answers).toEqual([])
})

test('the end of input declines', async () => {
  await using rig = await setUp(async () => {
    throw new DproxyError('STOPPED', 'nothing was answered')
  })
  void rig.asker.see([{ name: 'prod', question: question('1', { text: '?', echo: false }) }])
  await until('it is answered', () => rig.answers.length === 1)
  expect(rig.answers).toEqual([['1', null]])
})
