/** What runs on the demo's hosts. Nothing of it exists: no image is stored, no port is open. */

export type LogKind = 'access' | 'service' | 'postgres' | 'redis' | 'jobs' | 'migration'

export interface Service {
  readonly name: string
  readonly image: string
  readonly command: readonly string[]
  /** Ports inside the container, with the one they pretend to be published on. */
  readonly ports: readonly { inside: number; outside?: number }[]
  readonly log: { readonly kind: LogKind; readonly everyMs: number }
  /** The share of one processor it takes on average. */
  readonly cpu: number
  readonly memory: number
  readonly processes: readonly string[]
  readonly health?: string
  /** For a container that has done its work: how long ago it ended. */
  readonly endedAgoMs?: number
}

export interface Image {
  readonly tag: string
  readonly size: number
  readonly ageDays: number
}

const MB = 1_000_000
const HOUR = 3_600_000

const web: Service = {
  name: 'web',
  image: 'nginx:1.27',
  command: ['/docker-entrypoint.sh', 'nginx', '-g', 'daemon off;'],
  ports: [{ inside: 80, outside: 8080 }, { inside: 443 }],
  log: { kind: 'access', everyMs: 700 },
  cpu: 0.04,
  memory: 11 * MB,
  processes: ['nginx: master process nginx -g daemon off;', 'nginx: worker process', 'nginx: worker process'],
}

const api: Service = {
  name: 'api',
  image: 'shop/api:2.14.0',
  command: ['node', 'server.js'],
  ports: [{ inside: 3000, outside: 3000 }],
  log: { kind: 'service', everyMs: 1100 },
  cpu: 0.23,
  memory: 164 * MB,
  processes: ['node server.js'],
  health: 'wget -q --spider http://localhost:3000/health',
}

const db: Service = {
  name: 'db',
  image: 'postgres:16',
  command: ['docker-entrypoint.sh', 'postgres'],
  ports: [{ inside: 5432 }],
  log: { kind: 'postgres', everyMs: 5000 },
  cpu: 0.11,
  memory: 402 * MB,
  processes: ['postgres', 'postgres: checkpointer', 'postgres: background writer', 'postgres: walwriter'],
  health: 'pg_isready -U shop',
}

const cache: Service = {
  name: 'cache',
  image: 'redis:7',
  command: ['docker-entrypoint.sh', 'redis-server'],
  ports: [{ inside: 6379 }],
  log: { kind: 'redis', everyMs: 9000 },
  cpu: 0.02,
  memory: 27 * MB,
  processes: ['redis-server *:6379'],
}

const worker: Service = {
  name: 'worker',
  image: 'shop/worker:2.14.0',
  command: ['node', 'worker.js'],
  ports: [],
  log: { kind: 'jobs', everyMs: 1900 },
  cpu: 0.62,
  memory: 231 * MB,
  processes: ['node worker.js', 'node worker.js --thread 1'],
}

const migrate: Service = {
  name: 'migrate',
  image: 'shop/api:2.14.0',
  command: ['node', 'migrate.js'],
  ports: [],
  log: { kind: 'migration', everyMs: 300 },
  cpu: 0,
  memory: 0,
  processes: [],
  endedAgoMs: 5 * HOUR,
}

const staging: readonly Service[] = [web, { ...api, image: 'shop/api:2.15.0-rc.1' }, db]

/** The services of the host `name`; a host that is not `prod` looks like `staging`. */
export const servicesOf = (name: string): readonly Service[] =>
  name === 'prod' ? [web, api, worker, db, cache, migrate] : staging

const IMAGES: readonly Image[] = [
  { tag: 'nginx:1.27', size: 192 * MB, ageDays: 24 },
  { tag: 'shop/api:2.14.0', size: 241 * MB, ageDays: 6 },
  { tag: 'shop/api:2.15.0-rc.1', size: 243 * MB, ageDays: 1 },
  { tag: 'shop/worker:2.14.0', size: 238 * MB, ageDays: 6 },
  { tag: 'postgres:16', size: 432 * MB, ageDays: 31 },
  { tag: 'redis:7', size: 117 * MB, ageDays: 45 },
]

/** The images that the services of the host `name` need. */
export const imagesOf = (name: string): readonly Image[] => {
  const needed = new Set(servicesOf(name).map(({ image }) => image))
  return IMAGES.filter(({ tag }) => needed.has(tag))
}
