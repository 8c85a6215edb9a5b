import { clockJumps, type ClockJumps } from './clock-jumps.js'
import type { KeepAlive, LinkLane } from './link-lane.js'
import { Pause } from './pause.js'

// After a sleep, a dead lane is found out this long after the first probe however patient its keep-alive is; and
// one that lives has as long for its answer, on a network that is only just coming back.
const AFTER_A_JUMP_MS = 15_000

// What was lost on the way is sent again after longer and longer, and what follows waits behind it: the answer to a
// question from the end of an outage comes a little late (RFC 6298 section 5; measured: up to 0.4 s).
const LATE_MS = 600

// What has come in before or during a sleep is no sign of life after it; it is read first.
const READ_FIRST_MS = 100

/**
 * Watches a lane until `signal` aborts, and closes it when it is dead. Any byte from the server is a sign of
 * life, so a slow line that is busy is never taken for a dead one. After `intervalMs` of silence the server is
 * asked for a sign of life, and again each `intervalMs`; it is dead when `misses` questions have each had their
 * time and not one byte has come: `intervalMs` x (`misses` + 1) after the last one, and a little more. When this process has stood
 * still (`jumps`), it is asked at once, and given up sooner.
 */
export const keepAlive = async (
  lane: LinkLane,
  { intervalMs, misses }: KeepAlive,
  signal: AbortSignal,
  jumps: ClockJumps = clockJumps,
): Promise<void> => {
  let pause: Pause | undefined
  let jumped = false
  const isOver = () => jumped || signal.aborted
  const endRest = () => pause?.end()

  /** Waits for as long as `leftMs` says, which is asked again whenever the wait ends; no longer than to a jump. */
  const rest = async (leftMs: () => number) => {
    for (let ms = leftMs(); ms > 0 && !isOver(); ms = leftMs()) {
      pause = new Pause(ms)
      await pause.over
    }
  }

  /** Asks for a sign of life, each time for `ms`; resolves with whether there was any, or a jump. */
  const lives = async (ms: number): Promise<boolean> => {
    const startMs = performance.now()
    let answered = false
    const onAnswer = () => {
      answered = true
      endRest()
    }
    for (let asked = 1; asked <= misses; asked += 1) {
      // What cannot even be asked has its time all the same.
      lane.ping(ms, signal).then(onAnswer, ignore)
      const untilMs = performance.now() + ms + (asked < misses ? 0 : Math.min(ms, LATE_MS))
      await rest(() => (answered ? 0 : untilMs - performance.now()))
      // The timer may be late, because we were busy or stopped, with the answer waiting to be read.
      await ioTurn()
      if (answered || isOver() || lane.silentMs < performance.now() - startMs) return true
    }
    return false
  }

  const unsubscribe = jumps.subscribe(() => {
    jumped = true
    endRest()
  })
  signal.addEventListener('abort', endRest, { once: true })
  try {
    while (!signal.aborted) {
      await rest(() => intervalMs - lane.silentMs)
      const hasJumped = jumped
      jumped = false
      if (hasJumped) await new Pause(READ_FIRST_MS).over
      if (signal.aborted) return
      const ms = hasJumped ? Math.min(intervalMs, AFTER_A_JUMP_MS / misses) : intervalMs
      if (!(await lives(ms))) lane.close(`no sign of life for ${Math.round(lane.silentMs / 1000)} s`)
    }
  } finally {
    unsubscribe()
    signal.removeEventListener('abort', endRest)
  }
}

/** Lets what waits in the sockets be read: immediates come after the event loop has polled (Node's event loop guide). */
const ioTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

const ignore = (): void => undefined
