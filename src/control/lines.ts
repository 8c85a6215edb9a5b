import type { ServerResponse } from 'node:http'

// A watcher hears of changes at most this often, and of the numbers at least once a second.
const NOT_OFTENER_THAN_MS = 50
const AT_LEAST_EVERY_MS = 1000

// A reader that has let this much pile up is not reading: it is let go of, not waited for.
const LONGEST_BACKLOG = 1024 * 1024

/**
 * Sends a document a line: one now, then one after each change and each second. A reader that is slow gets the
 * newest document once it has taken the last, never a backlog.
 */
export const sendLatest = (
  response: ServerResponse,
  read: () => unknown,
  subscribe: (changed: () => void) => () => void,
): undefined => {
  begin(response)
  let due: NodeJS.Timeout | undefined
  let sentMs = 0
  let stale = false
  const send = () => {
    sentMs = performance.now()
    stale = false
    // A document that the socket does not swallow whole is waited for, however large or slow the reader.
    if (response.write(line(read()))) next()
    else response.once('drain', next)
  }
  const next = () => {
    clearTimeout(due)
    const wait = stale ? NOT_OFTENER_THAN_MS : AT_LEAST_EVERY_MS
    due = setTimeout(send, Math.max(0, sentMs + wait - performance.now()))
  }
  const unsubscribe = subscribe(() => {
    if (stale) return
    stale = true
    if (!response.writableNeedDrain) next()
  })
  response.once('close', () => {
    unsubscribe()
    clearTimeout(due)
  })
  send()
}

/** Sends `now` a line each, then whatever `follow` brings; without `follow`, ends. */
export const sendLines = (
  response: ServerResponse,
  now: readonly unknown[],
  follow: ((send: (value: unknown) => void) => () => void) | undefined,
): undefined => {
  begin(response)
  for (const value of now) response.write(line(value))
  if (!follow) {
    response.end()
    return
  }
  const unfollow = follow((value) => {
    if (response.writableLength > LONGEST_BACKLOG) response.destroy()
    else response.write(line(value))
  })
  response.once('close', unfollow)
}

const begin = (response: ServerResponse): void => {
  response.writeHead(200, { 'Content-Type': 'application/x-ndjson' })
  response.flushHeaders()
}

const line = (value: unknown): string => `${JSON.stringify(value)}\n`
