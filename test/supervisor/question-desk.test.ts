import { expect, test } from 'vitest'
import type { Question } from '../../src/ssh/person.js'
import { QuestionDesk } from '../../src/supervisor/host/question-desk.js'

const password: Question = {
  kind: 'password',
  text: 'me@box:22 asks for a password',
  prompts: [{ text: 'Password:', echo: false }],
}
const never = new AbortController().signal

test('a question is seen while it is asked, and its answer reaches whoever asked', async () => {
  let changes = 0
  const desk = new QuestionDesk('prod', () => (changes += 1))
  const answered = desk.ask(password, never)
  expect(desk.question).toMatchObject(password)
  expect(changes).toBe(1)
  expect(desk.answer(desk.question!.id, ['hunter2'])).toBe(true)
  expect(await answered).toEqual(['hunter2'])
  expect(desk.question).toBeNull()
  expect(changes).toBe(2)
})

test('declining is an answer of its own', async () => {
  const desk = new QuestionDesk('prod', () => undefined)
  const answered = desk.ask(password, never)
  desk.answer(desk.question!.id, null)
  expect(await answered).toBeNull()
})

test('an answer to another question, or of another length, is not taken', async () => {
  const desk = new QuestionDesk('prod', () => undefined)
  const first = desk.ask(password, never)
  const { id } = desk.question!
  expect(desk.answer(`${id}x`, ['a'])).toBe(false)
  expect(() => desk.answer(id, [])).toThrow('the question takes 1 answer, not 0')
  expect(() => desk.answer(id, ['a', 'b'])).toThrow('the question takes 1 answer, not 2')
  desk.answer(id, ['a'])
  await first
  const second = desk.ask(password, never)
  expect(desk.answer(id, ['late'])).toBe(false)
  expect(desk.question!.id).not.toBe(id)
  desk.answer(desk.question!.id, null)
  await second
})

test('a login that is over takes its question back', async () => {
  const desk = new QuestionDesk('prod', () => undefined)
  const over = new AbortController()
  const answered = desk.ask(password, over.signal)
  over.abort(new Error('the server hung up'))
  await expect(answered).rejects.toThrow('the server hung up')
  expect(desk.question).toBeNull()
})
