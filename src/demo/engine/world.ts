import { imagesOf, servicesOf, type Image, type Service } from './catalogue.js'
import { EngineError } from './engine-error.js'
import { Feed } from './feed.js'
import { between, hexId } from './noise.js'

/** A container of the demo: a few words of state around a service that does not exist. */
export interface Container {
  readonly id: string
  name: string
  readonly service: Service
  readonly createdMs: number
  state: 'running' | 'paused' | 'exited'
  startedMs: number
  /** When it last ended; undefined while it runs for the first time. */
  endedMs: number | undefined
  exitCode: number
}

/** What `docker events` prints; the names are those of Docker's API. */
export interface EngineEvent {
  readonly Type: 'container'
  readonly Action: string
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> }
  readonly scope: 'local'
  readonly time: number
  readonly timeNano: number
}

/** The state of one engine. All that does not change by command depends on the seed and the clock alone. */
export interface World {
  readonly name: string
  readonly seed: string
  readonly startedMs: number
  readonly containers: Map<string, Container>
  readonly images: readonly (Image & { readonly id: string; readonly createdMs: number })[]
  readonly events: Feed<EngineEvent>
}

const DAY = 86_400_000
const EVENTS_KEPT = 256

export const createWorld = (name: string, seed: string): World => {
  const now = Date.now()
  const containers = servicesOf(name).map((service) => newContainer(service, seed, now))
  return {
    name,
    seed,
    startedMs: now,
    containers: new Map(containers.map((container) => [container.id, container])),
    images: imagesOf(name).map((image) => ({
      ...image,
      id: `sha256:${hexId('image', image.tag)}`,
      createdMs: now - image.ageDays * DAY,
    })),
    events: new Feed(EVENTS_KEPT),
  }
}

const newContainer = (service: Service, seed: string, now: number): Container => {
  const age = service.endedAgoMs
    ? service.endedAgoMs + 20_000
    : between(2 * 3_600_000, 9 * DAY, seed, service.name)
  return {
    id: hexId('container', seed, service.name),
    name: service.name,
    service,
    createdMs: now - age,
    state: service.endedAgoMs ? 'exited' : 'running',
    startedMs: now - age,
    endedMs: service.endedAgoMs && now - service.endedAgoMs,
    exitCode: 0,
  }
}

/**
 * The container with this name, id, or unambiguous beginning of an id.
 * @throws EngineError 404 in Docker's words
 */
export const findContainer = ({ containers }: World, wanted = ''): Container => {
  const all = [...containers.values()]
  const named = all.find(({ id, name }) => id === wanted || name === wanted.replace(/^\//u, ''))
  const begun = all.filter(({ id }) => wanted !== '' && id.startsWith(wanted))
  const found = named ?? (begun.length === 1 ? begun[0] : undefined)
  if (!found) throw new EngineError(404, `No such container: ${wanted}`)
  return found
}

/** Tells everybody who follows the events of `world`. */
export const emit = (
  world: World,
  container: Container,
  action: string,
  more: Record<string, string> = {},
) => {
  const now = Date.now()
  world.events.push({
    Type: 'container',
    Action: action,
    Actor: {
      ID: container.id,
      Attributes: {
        ...more,
        ...labelsOf(world, container),
        image: container.service.image,
        name: container.name,
      },
    },
    scope: 'local',
    time: Math.floor(now / 1000),
    timeNano: now * 1_000_000,
  })
}

/** The labels that Docker Compose would have set. */
export const labelsOf = (world: World, { service }: Container): Record<string, string> => ({
  'com.docker.compose.project': 'shop',
  'com.docker.compose.service': service.name,
  'com.docker.compose.project.config_files': `/srv/shop/${world.name}.yaml`,
  'com.docker.compose.project.working_dir': '/srv/shop',
})
