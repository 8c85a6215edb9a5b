import type { Socket } from 'node:net'

// A client that connects and says nothing is let go of after this long.
const REQUEST_WITHIN_MS = 10_000
// How long a refused client may go on sending (an upload under way) before it is cut.
const DRAIN_MS = 5000

/**
 * Answers a client that cannot be served in Docker's own form (the Engine API's ErrorResponse), so that
 * `docker ps` prints the message: HTTP 503 and `{"message": …}`.
 * The answer waits for the first bytes of the request, because Go's HTTP client takes an answer to nothing for
 * a broken connection; and the request is read to its end, because closing a Unix socket with unread bytes
 * resets it and the client might lose the answer.
 */
export const refuse = (client: Socket, message: string): Promise<void> =>
  new Promise((resolve) => {
    // A socket that is closed already says so no more.
    if (client.closed) return resolve()
    let limit = setTimeout(() => client.destroy(), REQUEST_WITHIN_MS)
    client.on('error', () => client.destroy())
    client.once('close', () => {
      clearTimeout(limit)
      resolve()
    })
    client.once('end', () => client.end())
    let start = ''
    client.on('data', (request: Buffer) => {
      if (start.length >= METHOD_LENGTH) return
      start += request.toString('latin1', 0, METHOD_LENGTH)
      if (start.length < METHOD_LENGTH) return
      client.end(answer(message, start.startsWith('HEAD ')))
      clearTimeout(limit)
      limit = setTimeout(() => client.destroy(), DRAIN_MS)
    })
    client.resume()
  })

// Enough of a request to tell HEAD, whose answer has no body, from the others.
const METHOD_LENGTH = 5

const answer = (message: string, head: boolean): string => {
  const body = `${JSON.stringify({ message })}\n`
  const headers = [
    'HTTP/1.1 503 Service Unavailable',
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ]
  return `${headers.join('\r\n')}\r\n\r\n${head ? '' : body}`
}
