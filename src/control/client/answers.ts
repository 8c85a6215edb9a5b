import type { IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import type { z } from 'zod'
import { DproxyError } from '../../base/errors.js'
import { unreachable } from './errors.js'

/** The whole answer. @throws DproxyError SUPERVISOR_DOWN when it breaks off */
export const json = async (response: IncomingMessage): Promise<unknown> => {
  try {
    let text = ''
    response.setEncoding('utf8')
    for await (const chunk of response as AsyncIterable<string>) text += chunk
    return JSON.parse(text)
  } catch (failure) {
    throw new DproxyError('SUPERVISOR_DOWN', 'the supervisor went away in the middle of its answer', {
      cause: failure,
      hint: 'see: dproxy logs',
    })
  }
}

/** An answer of one document a line, until it ends or `signal` aborts. @throws DproxyError */
export async function* lines<T>(
  response: IncomingMessage,
  schema: z.ZodType<T>,
  signal: AbortSignal,
): AsyncGenerator<T> {
  const reader = createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY })
  try {
    for await (const line of reader) yield check(schema, JSON.parse(line))
  } catch (failure) {
    if (!signal.aborted) throw failure instanceof DproxyError ? failure : unreachable('', failure as Error)
  } finally {
    response.destroy()
  }
}

/** @throws DproxyError SUPERVISOR_SKEW when it is not what the schema says */
export const check = <T>(schema: z.ZodType<T>, value: unknown): T => {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  throw new DproxyError(
    'SUPERVISOR_SKEW',
    'the supervisor gave an answer that this command does not understand',
    {
      cause: parsed.error,
      hint: 'it may be of another version; stop it, then start your hosts again: dproxy down --all',
    },
  )
}
