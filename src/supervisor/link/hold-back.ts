import type { Duplex } from 'node:stream'

// RFC 9112 section 3; clients write a request's first line at the beginning of a write. Keystrokes of a terminal
// and the middle of an upload look otherwise.
const BEGINS_REQUEST = /^(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT|TRACE) \//u
const LONGEST_BEGINNING = 'OPTIONS /'.length

/**
 * Sees to it that nothing new is asked in a stream that a client already has, for as long as `holds` says so: the
 * stream fails with `refusal` instead. docker keeps the connection that it began a command with, and asks in it
 * what became of the command when the connection of its output is cut (measured with docker 28.2: only that one
 * cut, `docker exec` ended with 0). What is under way in other streams goes on.
 *
 * It stands in front of `write`, and goes away with the first write after the hold: streams have it for a moment
 * only, and none for as long as nothing is cut.
 */
export const holdBack = (stream: Duplex, holds: () => boolean, refusal: () => Error): void => {
  if (Object.hasOwn(stream, 'write')) return
  const write = stream.write.bind(stream)
  const whileHeld = (chunk: Buffer, ...more: []): boolean => {
    if (!holds()) Reflect.deleteProperty(stream, 'write')
    else if (BEGINS_REQUEST.test(chunk.toString('latin1', 0, LONGEST_BEGINNING))) {
      stream.destroy(refusal())
      return false
    }
    return write(chunk, ...more)
  }
  stream.write = whileHeld as Duplex['write']
}
