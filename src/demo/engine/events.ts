import { sendParts, timeIn, untilClientEnds, type Ask } from './respond.js'
import { emit, type World } from './world.js'

const HEALTH_CHECK_MS = 5000

/** `GET /events`: what happened since `since`, then what happens until `until` or until the client goes. */
export const events = (ask: Ask): Promise<void> => {
  const sinceMs = timeIn(ask.query, 'since') ?? Date.now()
  const untilMs = timeIn(ask.query, 'until')
  return sendParts(ask, 'application/json', follow(ask, sinceMs, untilMs))
}

async function* follow(ask: Ask, sinceMs: number, untilMs: number | undefined): AsyncGenerator<string> {
  const signal = untilClientEnds(ask)
  const limit = new AbortController()
  const timer =
    untilMs === undefined ? undefined : setTimeout(() => limit.abort(), Math.max(0, untilMs - Date.now()))
  try {
    for await (const event of ask.world.events.follow(AbortSignal.any([signal, limit.signal]))) {
      const atMs = event.timeNano / 1_000_000
      if (atMs >= sinceMs && atMs <= (untilMs ?? Number.POSITIVE_INFINITY)) yield `${JSON.stringify(event)}\n`
    }
  } finally {
    clearTimeout(timer)
  }
}

/** Lets the containers with a health check run it now and then, so that a quiet engine still tells something. */
export const startHealthChecks = (world: World): NodeJS.Timeout =>
  setInterval(() => {
    for (const container of world.containers.values()) {
      const check = container.service.health
      if (!check || container.state !== 'running') continue
      emit(world, container, `exec_create: ${check}`)
      emit(world, container, `exec_start: ${check}`)
      emit(world, container, 'exec_die', { exitCode: '0' })
    }
  }, HEALTH_CHECK_MS)
