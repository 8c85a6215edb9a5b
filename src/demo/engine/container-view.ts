import { between, hexId } from './noise.js'
import { labelsOf, type Container, type World } from './world.js'

/** One element of `GET /containers/json`. */
export const listed = (world: World, container: Container) => ({
  Id: container.id,
  Names: [`/${container.name}`],
  Image: container.service.image,
  ImageID: imageId(container),
  Command: container.service.command.join(' '),
  Created: Math.floor(container.createdMs / 1000),
  Ports: container.state === 'exited' ? [] : container.service.ports.map(port),
  Labels: labelsOf(world, container),
  State: container.state,
  Status: statusOf(container, Date.now()),
  HostConfig: { NetworkMode: 'shop_default' },
  NetworkSettings: { Networks: networks(container) },
  Mounts: [],
})

/** `GET /containers/{id}/json`. */
export const inspected = (world: World, container: Container) => {
  const { service, state } = container
  const [path, ...args] = service.command
  return {
    Id: container.id,
    Created: new Date(container.createdMs).toISOString(),
    Path: path,
    Args: args,
    State: stateOf(container),
    Image: imageId(container),
    Name: `/${container.name}`,
    RestartCount: 0,
    Driver: 'demo',
    Platform: 'linux',
    LogPath: '',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    ExecIDs: null,
    HostConfig: {
      NetworkMode: 'shop_default',
      LogConfig: { Type: 'json-file', Config: {} },
      RestartPolicy: { Name: service.endedAgoMs ? 'no' : 'unless-stopped', MaximumRetryCount: 0 },
      AutoRemove: false,
      Privileged: false,
    },
    GraphDriver: { Name: 'demo', Data: null },
    Mounts: [],
    Config: {
      Hostname: container.id.slice(0, 12),
      Tty: false,
      OpenStdin: false,
      Env: [`DEMO_HOST=${world.name}`],
      Cmd: service.command,
      Image: service.image,
      Labels: labelsOf(world, container),
    },
    NetworkSettings: {
      Ports: Object.fromEntries(
        service.ports.map(({ inside, outside }) => [
          `${inside}/tcp`,
          outside && state !== 'exited' ? [{ HostIp: '127.0.0.1', HostPort: String(outside) }] : null,
        ]),
      ),
      Networks: networks(container),
    },
  }
}

const imageId = ({ service }: Container): string => `sha256:${hexId('image', service.image)}`

const port = ({ inside, outside }: { inside: number; outside?: number }) => ({
  PrivatePort: inside,
  Type: 'tcp',
  ...(outside !== undefined && { IP: '127.0.0.1', PublicPort: outside }),
})

const networks = ({ id, state }: Container) => ({
  shop_default: {
    NetworkID: hexId('network', 'shop_default'),
    EndpointID: '',
    Gateway: '172.18.0.1',
    IPAddress: state === 'exited' ? '' : `172.18.0.${between(2, 250, id)}`,
    IPPrefixLen: 16,
    MacAddress: '',
  },
})

const stateOf = ({ id, service, state, startedMs, endedMs, exitCode }: Container) => ({
  Status: state,
  Running: state !== 'exited',
  Paused: state === 'paused',
  Restarting: false,
  OOMKilled: false,
  Dead: false,
  Pid: state === 'exited' ? 0 : between(900, 30_000, id),
  ExitCode: exitCode,
  Error: '',
  StartedAt: new Date(startedMs).toISOString(),
  FinishedAt: endedMs === undefined ? '0001-01-01T00:00:00Z' : new Date(endedMs).toISOString(),
  ...(service.health && {
    Health: { Status: state === 'running' ? 'healthy' : 'unhealthy', FailingStreak: 0, Log: [] },
  }),
})

const statusOf = ({ service, state, startedMs, endedMs, exitCode }: Container, nowMs: number): string => {
  if (state === 'exited') return `Exited (${exitCode}) ${inWords(nowMs - (endedMs ?? nowMs))} ago`
  const up = `Up ${inWords(nowMs - startedMs)}`
  if (state === 'paused') return `${up} (Paused)`
  return service.health ? `${up} (healthy)` : up
}

/** A span as `docker ps` words it. */
const inWords = (ms: number): string => {
  const seconds = Math.floor(ms / 1000)
  const minutes = Math.floor(seconds / 60)
  const hours = Math.round(minutes / 60)
  if (seconds < 1) return 'Less than a second'
  if (seconds < 60) return seconds === 1 ? '1 second' : `${seconds} seconds`
  if (minutes < 60) return minutes === 1 ? 'About a minute' : `${minutes} minutes`
  if (hours < 48) return hours === 1 ? 'About an hour' : `${hours} hours`
  return `${Math.floor(hours / 24)} days`
}
