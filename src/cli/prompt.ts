import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import type { ReadStream } from 'node:tty'
import { DproxyError } from '../base/errors.js'

/** What a person at the terminal is asked with. */
export interface Terminal {
  readonly input: ReadStream
  readonly output: NodeJS.WritableStream
  /** Called at Ctrl-C, which in raw mode is a key and no signal. */
  readonly interrupt: () => void
}

export interface PromptOptions {
  /** Whether what is typed may be seen. */
  readonly echo: boolean
  /** Takes the question back. */
  readonly signal: AbortSignal
}

/**
 * Asks one line. The terminal is as it was when this returns, however it ends.
 * @throws DproxyError STOPPED at Ctrl-D (the end of input), and the signal's reason
 */
export const promptAt = async (
  { input, output, interrupt }: Terminal,
  question: string,
  { echo, signal }: PromptOptions,
): Promise<string> => {
  signal.throwIfAborted()
  // readline repeats each key on its output; without echo it gets one that swallows them.
  const shown = echo ? output : new Writable({ write: (_chunk, _encoding, done) => done() })
  const reader = createInterface({ input, output: shown, terminal: true })
  // Only now: until the reader has taken the terminal over, the terminal itself shows what is typed.
  if (!echo) output.write(question)
  reader.on('SIGINT', interrupt)
  const ended = new Promise<never>((_, reject) => {
    reader.once('close', () => reject(new DproxyError('STOPPED', 'nothing was answered')))
  })
  try {
    return await Promise.race([reader.question(echo ? question : '', { signal }), ended])
  } catch (failure) {
    signal.throwIfAborted()
    // At Ctrl-D readline leaves the cursor where it is.
    if (echo) output.write('\n')
    throw failure
  } finally {
    ended.catch(() => undefined)
    reader.close()
    if (!echo) output.write('\n')
  }
}
