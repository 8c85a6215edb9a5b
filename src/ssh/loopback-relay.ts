import type { Socket } from 'node:net'
import type { ServerChannel } from 'ssh2'

// How long an engine has to read the last bytes of a client that has gone.
const GRACE_MS = 5000

/**
 * Joins a channel of ssh2's server to a connected engine until both have ended, each direction by itself.
 * What lib/Channel.js of ssh2 1.17 demands of whoever does this:
 * - on a server, end() closes the whole channel: while the client may still send, eof() says the same and
 *   leaves its direction open;
 * - eof() overtakes what is still queued, so it waits behind the last write;
 * - a write to a channel that is no longer open never calls back: only the peer's CLOSE tells.
 */
export const relay = (channel: ServerChannel, engine: Socket): void => {
  let up = false
  let down = false
  const closeWhenBothEnded = () => {
    if (up && down) channel.end()
  }

  channel.pipe(engine)
  engine.once('finish', () => {
    up = true
    closeWhenBothEnded()
  })

  engine.pipe(channel, { end: false })
  engine.once('end', () => {
    channel.write(Buffer.alloc(0), () => {
      channel.eof()
      down = true
      closeWhenBothEnded()
    })
  })

  engine.once('close', () => {
    up = true
    if (engine.readableEnded) closeWhenBothEnded()
    // An answer cut short must not look complete: CLOSE without EOF.
    else channel.close()
  })
  onPeerClose(channel, () => {
    engine.unpipe(channel)
    const timer = setTimeout(() => engine.destroy(), engine.writableFinished ? 0 : GRACE_MS)
    engine.once('finish', () => engine.destroy()).once('close', () => clearTimeout(timer))
  })

  // The 'close' of either side does the work; an 'error' nobody listens to would end the process.
  channel.on('error', ignore)
  engine.on('error', ignore)
}

const ignore = () => undefined

/**
 * Calls back when the client closed the channel. The channel's own 'close' comes only once all its data was
 * read, never while the engine reads nothing; but ssh2 always ends the unused stderr at that moment.
 */
const onPeerClose = (channel: ServerChannel, gone: () => void): void => {
  channel.stderr.once('finish', gone).on('error', ignore)
}
