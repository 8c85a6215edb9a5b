import { PassThrough } from 'node:stream'
import type { ReadStream } from 'node:tty'
import { describe, expect, test } from 'vitest'
import { promptAt } from '../../src/cli/prompt.js'

/** A terminal at which `keys` are pressed, and what then stands on it. */
const at = async (keys: string, echo: boolean, signal = new AbortController().signal) => {
  const input = new PassThrough()
  const output = new PassThrough()
  let interrupted = 0
  const terminal = { input: input as unknown as ReadStream, output, interrupt: () => void (interrupted += 1) }
  const answer = promptAt(terminal, 'Sure? ', { echo, signal }).catch((failure: unknown) => failure)
  input.write(keys)
  const given = await answer
  return {
    given,
    shown: String(output.read() ?? ''),
    interrupted,
    listeners: input.listenerCount('keypress'),
  }
}

describe.each([true, false])('a question (seen while it is typed: %s)', (echo) => {
  test('that is answered leaves the cursor on a line of its own', async () => {
    const { given, shown, listeners } = await at('pä ss\u{1f600}\r', echo)
    expect(given).toBe('pä ss\u{1f600}')
    expect(shown).toContain('Sure? ')
    expect(shown.endsWith('\n')).toBe(true)
    expect(shown.includes('ss')).toBe(echo)
    expect(listeners).toBe(0)
  })

  test('that is not answered (Ctrl-D) leaves the cursor on a line of its own, too', async () => {
    const { given, shown, listeners } = await at('\u0004', echo)
    expect(given).toMatchObject({ code: 'STOPPED' })
    expect(shown.endsWith('\n')).toBe(true)
    expect(shown.match(/\n/gu)).toHaveLength(1)
    expect(listeners).toBe(0)
  })

  test('that is taken back leaves the cursor on a line of its own, too', async () => {
    const taken = new AbortController()
    setTimeout(() => taken.abort(new Error('taken back')), 20)
    const { given, shown } = await at('half', echo, taken.signal)
    expect(given).toMatchObject({ message: 'taken back' })
    expect(shown.endsWith('\n')).toBe(true)
    expect(shown.match(/\n/gu)).toHaveLength(1)
  })

  test('takes the first of several lines that are pasted', async () => {
    expect((await at('one\rtwo\rthree\r', echo)).given).toBe('one')
  })
})

test('a secret is asked for only once the terminal has stopped showing what is typed', async () => {
  const events: string[] = []
  const input = Object.assign(new PassThrough(), {
    isTTY: true,
    setRawMode: (raw: boolean) => void events.push(raw ? 'hidden' : 'shown'),
  })
  const output = new PassThrough()
  output.on('data', (text: Buffer) => events.push(String(text)))
  const terminal = { input: input as unknown as ReadStream, output, interrupt: () => undefined }
  const answer = promptAt(terminal, 'Secret? ', { echo: false, signal: new AbortController().signal })
  input.write('x\r')
  expect(await answer).toBe('x')
  expect(events).toEqual(['hidden', 'Secret? ', 'shown', '\n'])
})
