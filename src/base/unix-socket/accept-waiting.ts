import type { Server } from 'node:net'
import { setImmediate } from 'node:timers/promises'

/**
 * Resolves when `server` has accepted everybody who waits in its queue, for whoever is about to close it: a
 * listener that closes resets them. Only of use once nobody can find it any more.
 */
export const acceptWaiting = async (server: Server): Promise<void> => {
  let accepted = 0
  const count = () => void (accepted += 1)
  server.on('connection', count)
  try {
    for (let before = -1; before < accepted;) {
      before = accepted
      // The first may come in the middle of the event loop's look at what the kernel has for us; between the
      // two lies a whole one.
      await setImmediate()
      await setImmediate()
    }
  } finally {
    server.off('connection', count)
  }
}
