import { listed } from './container-view.js'
import { listedImage } from './images.js'
import { hexId } from './noise.js'
import { sendJson, sendWhole, type Ask } from './respond.js'
import { MEMORY, PROCESSORS } from './stats.js'

/** Says that this is no real engine wherever a client shows a version. */
export const VERSION = '28.2.2-demo'
export const API_VERSION = '1.50'
export const OLDEST_API_VERSION = '1.24'

/** `GET` and `HEAD /_ping`, by which clients agree on an API version. */
export const ping = ({ request, response }: Ask): void => {
  response.setHeader('Cache-Control', 'no-cache, no-store, must-revalidate')
  response.setHeader('Builder-Version', '1')
  response.setHeader('Swarm', 'inactive')
  sendWhole(response, 'text/plain; charset=utf-8', Buffer.from(request.method === 'HEAD' ? '' : 'OK'))
}

/** `GET /version` */
export const version = (ask: Ask): void => {
  const details = {
    ApiVersion: API_VERSION,
    MinAPIVersion: OLDEST_API_VERSION,
    Os: 'linux',
    Arch: 'amd64',
    GitCommit: 'none',
    GoVersion: `none (node ${process.version})`,
    KernelVersion: 'none',
    BuildTime: '2026-01-01T00:00:00.000000000+00:00',
    Experimental: 'false',
  }
  sendJson(ask, {
    Platform: { Name: `dproxy demo engine (${ask.world.name})` },
    Version: VERSION,
    ...details,
    Experimental: false,
    Components: [{ Name: 'Engine', Version: VERSION, Details: details }],
  })
}

/** `GET /info` */
export const info = (ask: Ask): void => {
  const { world } = ask
  const states = [...world.containers.values()].map(({ state }) => state)
  const having = (wanted: string) => states.filter((state) => state === wanted).length
  sendJson(ask, {
    ID: hexId('engine', world.seed).slice(0, 32),
    Name: world.name,
    ServerVersion: VERSION,
    Containers: states.length,
    ContainersRunning: having('running'),
    ContainersPaused: having('paused'),
    ContainersStopped: having('exited'),
    Images: world.images.length,
    Driver: 'demo',
    DriverStatus: [['Stores', 'nothing']],
    Plugins: { Volume: ['local'], Network: ['bridge'], Authorization: null, Log: ['json-file'] },
    MemoryLimit: true,
    SwapLimit: true,
    PidsLimit: true,
    IPv4Forwarding: true,
    CpuCfsPeriod: true,
    CpuCfsQuota: true,
    CPUShares: true,
    CPUSet: true,
    OomKillDisable: false,
    BridgeNfIptables: true,
    BridgeNfIp6tables: true,
    Debug: false,
    NFd: 0,
    NGoroutines: 0,
    SystemTime: new Date().toISOString(),
    LoggingDriver: 'json-file',
    CgroupDriver: 'none',
    CgroupVersion: '2',
    NEventsListener: 0,
    KernelVersion: 'none',
    OperatingSystem: 'dproxy demo: an engine that runs no containers',
    OSVersion: '',
    OSType: 'linux',
    Architecture: 'x86_64',
    IndexServerAddress: '',
    RegistryConfig: { InsecureRegistryCIDRs: [], IndexConfigs: {}, Mirrors: [] },
    NCPU: PROCESSORS,
    MemTotal: MEMORY,
    DockerRootDir: '(none)',
    HttpProxy: '',
    HttpsProxy: '',
    NoProxy: '',
    Labels: ['demo=dproxy'],
    ExperimentalBuild: false,
    Runtimes: { demo: { path: 'none' } },
    DefaultRuntime: 'demo',
    Swarm: {
      NodeID: '',
      NodeAddr: '',
      LocalNodeState: 'inactive',
      ControlAvailable: false,
      Error: '',
      RemoteManagers: null,
    },
    LiveRestoreEnabled: false,
    Isolation: '',
    InitBinary: 'none',
    ContainerdCommit: { ID: 'none', Expected: 'none' },
    RuncCommit: { ID: 'none', Expected: 'none' },
    InitCommit: { ID: 'none', Expected: 'none' },
    SecurityOptions: [],
    Warnings: null,
  })
}

/** `GET /networks`: the one the containers seem to be in. */
export const networks = (ask: Ask): void => {
  sendJson(ask, [
    {
      Name: 'shop_default',
      Id: hexId('network', 'shop_default'),
      Created: new Date(ask.world.startedMs).toISOString(),
      Scope: 'local',
      Driver: 'bridge',
      EnableIPv6: false,
      IPAM: {
        Driver: 'default',
        Options: null,
        Config: [{ Subnet: '172.18.0.0/16', Gateway: '172.18.0.1' }],
      },
      Internal: false,
      Attachable: false,
      Ingress: false,
      Containers: {},
      Options: {},
      Labels: {},
    },
  ])
}

/** `GET /volumes` */
export const volumes = (ask: Ask): void => sendJson(ask, { Volumes: [], Warnings: null })

/** `GET /system/df` */
export const diskUsage = (ask: Ask): void => {
  const { containers, images } = ask.world
  sendJson(ask, {
    LayersSize: images.reduce((sum, { size }) => sum + size, 0),
    Images: images.map((image) => ({ ...listedImage(image), Containers: 1, SharedSize: 0 })),
    Containers: [...containers.values()].map((container) => ({ ...listed(ask.world, container), SizeRw: 0 })),
    Volumes: [],
    BuildCache: [],
  })
}
