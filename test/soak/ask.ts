import { request, type IncomingMessage } from 'node:http'
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Outcome } from './tally.js'

/** What came back of one request. */
export interface Reply {
  readonly status: number
  /** The start of the body. */
  readonly text: string
  readonly sum: string
  readonly length: number
}

export interface AskOptions {
  readonly body?: Iterable<Buffer>
  /** Hears the body of a 200 as it comes. */
  readonly onText?: (text: string) => void
  readonly signal?: AbortSignal
}

// The longest that a fault lasts, and what it takes to find it out, twice over.
const HANGS_AFTER_MS = 60_000

/** Asks the engine behind a socket, on a connection of its own. */
export const ask = async (
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  { body, onText, signal }: AskOptions = {},
): Promise<Reply> => {
  const headers = { Host: 'docker', Connection: 'close' }
  const asked = request({ socketPath, path, method, headers, agent: false, timeout: HANGS_AFTER_MS, signal })
  asked.once('timeout', () => asked.destroy(new Hung(`nothing was heard for ${HANGS_AFTER_MS / 1000} s`)))
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    asked.once('response', resolve).once('error', reject)
  })
  // An answer may come, and the connection go, before all of the body was taken.
  const sent = body ? pipeline(Readable.from(body), asked) : Promise.resolve(asked.end())
  sent.catch(() => {})
  const response = await answered
  const hash = createHash('sha256')
  let [text, length] = ['', 0]
  for await (const piece of response as AsyncIterable<Buffer>) {
    hash.update(piece)
    length += piece.length
    if (text.length < MOST_TEXT) text += piece.toString('latin1', 0, MOST_TEXT)
    if (response.statusCode === 200) onText?.(piece.toString('latin1'))
  }
  // Cut in the middle is an error already; without its end it is no answer either.
  if (!response.complete) throw new Error('the answer has no end')
  return { status: response.statusCode ?? 0, text, sum: hash.digest('hex'), length }
}

const MOST_TEXT = 4096

class Hung extends Error {}

/** Does one piece of work that asks the engine; `judge` says of an answer with status 200 what is wrong with it. */
export const outcomeOf = async (
  asking: Promise<Reply>,
  judge: (reply: Reply) => string | undefined,
): Promise<Outcome> => {
  let reply
  try {
    reply = await asking
  } catch (failure) {
    if (failure instanceof Hung) return { wrong: failure.message }
    const { code = '' } = failure as NodeJS.ErrnoException
    return code === 'ENOENT' || code === 'ECONNREFUSED' ? 'away' : 'cut'
  }
  if (reply.status === 503 && /"dproxy: \w+: /u.test(reply.text)) return 'refused'
  const wrong = reply.status === 200 ? judge(reply) : `status ${reply.status}: ${reply.text.slice(0, 200)}`
  return wrong === undefined ? 'done' : { wrong }
}
