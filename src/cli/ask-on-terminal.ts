import { asDproxyError } from '../base/errors.js'
import { printable, printableLines } from '../base/text.js'
import type { Io } from './io.js'

/** What is asked: some lines of text, then what is to be typed. */
export interface Asked {
  readonly text: string
  readonly prompts: readonly { readonly text: string; readonly echo: boolean }[]
}

/**
 * Asks the person at the terminal, in the name of a host; null where there is none. Resolves with one answer
 * for each prompt, or with null when the person declines (Ctrl-D). Rejects when the signal or the command ends.
 */
export const askOnTerminal = (
  { err, ask, askSecret }: Io,
  host: string,
): ((asked: Asked, signal: AbortSignal) => Promise<string[] | null>) | null => {
  if (!ask || !askSecret) return null
  return async ({ text, prompts }, signal) => {
    err.write(`${host}: ${printableLines(text)}\n`)
    try {
      const answers: string[] = []
      for (const prompt of prompts) {
        const askOne = prompt.echo ? ask : askSecret
        answers.push(await askOne(`${printable(prompt.text).trimEnd()} `, signal))
      }
      return answers
    } catch (failure) {
      if (asDproxyError(failure).code === 'STOPPED') return null
      throw failure
    }
  }
}
