import type { IncomingMessage } from 'node:http'
import type { z } from 'zod'
import { DproxyError } from '../../base/errors.js'

// The largest honest request is one host's definition, a few kilobytes.
const LONGEST_BODY = 64 * 1024

export const invalid = (why: string, cause?: unknown): DproxyError =>
  new DproxyError('REQUEST_INVALID', `the request is not valid: ${why}`, { cause })

/** @throws DproxyError REQUEST_INVALID when it is too long, not JSON, or not what the schema says */
export const body = async <T>(request: IncomingMessage, schema: z.ZodType<T>): Promise<T> => {
  const parsed = schema.safeParse(parseJson(await read(request)))
  if (parsed.success) return parsed.data
  throw invalid(
    parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`).join('; '),
  )
}

/** The whole body; what comes beyond the limit is not kept. */
const read = (request: IncomingMessage): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    const keep = (chunk: Buffer) => {
      length += chunk.length
      if (length <= LONGEST_BODY) return void chunks.push(chunk)
      request.off('data', keep)
      return reject(invalid(`its body is longer than ${LONGEST_BODY} bytes`))
    }
    request.on('data', keep)
    request.once('end', () => resolve(Buffer.concat(chunks)))
    request.once('error', reject)
  })

const parseJson = (bytes: Buffer): unknown => {
  if (bytes.length === 0) return {}
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (failure) {
    throw invalid('its body is not JSON', failure)
  }
}
