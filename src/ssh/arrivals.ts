import type { ClientChannel } from 'ssh2'

/** What ssh2 1.17 keeps of the server's side of a channel (lib/Channel.js). */
interface Incoming {
  readonly state: 'open' | 'eof' | 'closing' | 'closed'
}

export interface Arrivals {
  /** SSH_MSG_CHANNEL_DATA */
  readonly data: () => void
  /** SSH_MSG_CHANNEL_EOF, or a CLOSE without one. */
  readonly end: () => void
  /** SSH_MSG_CHANNEL_CLOSE */
  readonly close: () => void
}

/**
 * Hears the server's messages for a channel as they arrive; ssh2 tells of each only when all that came before
 * was read, which for a slow reader is much later. They reach the channel's read buffer by `push`.
 */
export const hearArrivals = (channel: ClientChannel, { data, end, close }: Arrivals): void => {
  const incoming = channel.incoming as Incoming
  const push = channel.push.bind(channel)
  channel.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (chunk !== null) data()
    else {
      if (incoming.state === 'closed') close()
      end()
    }
    return push(chunk, encoding)
  }
  // When all was read before it came, nothing is pushed.
  channel.once('close', close)
}
