import { inspected, listed } from './container-view.js'
import { EngineError } from './engine-error.js'
import { between } from './noise.js'
import { isSet, sendJson, type Ask } from './respond.js'
import { findContainer, labelsOf, type Container, type World } from './world.js'

/** `GET /containers/json`: all with `all`, else those that run; with `filters` those that match. */
export const list = (ask: Ask): void => {
  const filters = filtersIn(ask.query)
  const all = isSet(ask.query, 'all') || filters.has('status')
  const limit = Number(ask.query.get('limit') ?? 0)
  const found = [...ask.world.containers.values()]
    .filter((container) => all || limit > 0 || container.state !== 'exited')
    .filter((container) => matches(ask.world, container, filters))
    .toSorted((a, b) => b.createdMs - a.createdMs)
    .slice(0, limit > 0 ? limit : undefined)
  sendJson(
    ask,
    found.map((container) => listed(ask.world, container)),
  )
}

/** `GET /containers/{id}/json` */
export const inspect = (ask: Ask): void => {
  sendJson(ask, inspected(ask.world, findContainer(ask.world, ask.params.id)))
}

/** `GET /containers/{id}/top`: the columns of `ps -ef`, whatever `ps_args` says. */
export const top = (ask: Ask): void => {
  const container = findContainer(ask.world, ask.params.id)
  if (container.state === 'exited') throw new EngineError(409, `container ${container.id} is not running`)
  const parent = between(900, 30_000, container.id)
  sendJson(ask, {
    Titles: ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'],
    Processes: container.service.processes.map((command, index) => [
      'root',
      String(parent + index),
      String(index === 0 ? parent - 1 : parent),
      '0',
      new Date(container.startedMs).toISOString().slice(11, 16),
      '?',
      '00:00:0' + String(index + 1),
      command,
    ]),
  })
}

/** Docker's filters, `{"name": ["web"]}` or the older `{"name": {"web": true}}`. */
const filtersIn = (query: URLSearchParams): Map<string, string[]> => {
  const text = query.get('filters')
  if (!text) return new Map()
  try {
    const filters = JSON.parse(text) as Record<string, string[] | Record<string, boolean>>
    return new Map(
      Object.entries(filters).map(([key, value]) => [key, Array.isArray(value) ? value : Object.keys(value)]),
    )
  } catch {
    throw new EngineError(400, 'invalid filter')
  }
}

/** Filters that the demo does not know match everything. */
const matches = (world: World, container: Container, filters: Map<string, string[]>): boolean =>
  [...filters].every(([filter, wanted]) => {
    switch (filter) {
      case 'id':
        return wanted.some((id) => container.id.startsWith(id))
      case 'name':
        return wanted.some((name) => container.name.includes(name.replace(/^\^?\/?|\$$/gu, '')))
      case 'status':
        return wanted.includes(container.state)
      case 'ancestor':
        return wanted.includes(container.service.image)
      case 'label':
        return wanted.every((label) => hasLabel(labelsOf(world, container), label))
      default:
        return true
    }
  })

const hasLabel = (labels: Record<string, string>, wanted: string): boolean => {
  const [key = '', ...value] = wanted.split('=')
  return value.length === 0 ? key in labels : labels[key] === value.join('=')
}
