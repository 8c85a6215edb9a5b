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
  const send = () => {
    clearTimeout(due)
    due = undefined
    sentMs = Date.now()
    if (response.write(line(read()))) schedule(AT_LEAST_EVERY_MS)
    else response.once('drain', () => schedule(0))
  }
  const schedule = (ms: number) => {
    if (response.writableNeedDrain || response.destroyed) return
    clearTimeout(due)
    due = setTimeout(send, ms)
  }
  const unsubscribe = subscribe(() => {
    if (due) schedule(Math.max(0, sentMs + NOT_OFTENER_THAN_MS - Date.now()))
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
