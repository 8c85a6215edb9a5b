import { request, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import { text } from 'node:stream/consumers'

export interface RequestOptions {
  method?: string
  headers?: OutgoingHttpHeaders
  body?: Buffer
  signal: AbortSignal
}

/**
 * Sends one request over a connection of its own to the Unix socket `socket`; resolves with the answer's head,
 * its body still to be read.
 */
export const send = (socket: string, path: string, options: RequestOptions): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const { body, ...rest } = options
    request({ socketPath: socket, path, agent: false, headers: { Host: 'docker' }, ...rest }, resolve)
      .once('error', reject)
      .end(body)
  })

/** As {@link send}, but an answer other than 200 throws with what the engine said. */
export const ask = async (
  socket: string,
  path: string,
  options: RequestOptions,
): Promise<IncomingMessage> => {
  const response = await send(socket, path, options)
  if (response.statusCode === 200) return response
  throw new Error(`HTTP ${response.statusCode}: ${messageIn(await text(response))}`)
}

const messageIn = (body: string): string => {
  try {
    return (JSON.parse(body) as { message?: string }).message ?? body
  } catch {
    return body
  }
}

/** Whether the answer comes from an engine of ours, which may be loaded and whose bytes are known. */
export const isDemoEngine = ({ headers }: IncomingMessage): boolean =>
  /^Docker\/\S+-demo /u.test(String(headers.server))
