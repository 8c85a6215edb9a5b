/**
 * The real parts that tests use: which of them this machine has, and what Debian and Ubuntu call them.
 * Nothing here imports vitest, so that its global setup can use it too.
 */
import { execFileSync } from 'node:child_process'
import { accessSync, constants, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { ownUid } from '../../src/base/paths.js'
import { theirServer } from './their-server.js'

interface PartFacts {
  /** Debian packages that bring it, as far as the release knows them. */
  packages: string[]
  /** Why it cannot be used here; undefined when it can. */
  lacking: () => string | undefined
}

const PARTS = {
  /** OpenSSH's server, to run as the current user on a port of our own. */
  sshd: {
    packages: ['openssh-server', 'openssh-client'],
    lacking: () => notLinux() ?? noProgram('sshd', 'ssh-keygen'),
  },
  /** Docker engines of our own. */
  dockerd: {
    packages: ['docker.io', 'util-linux', 'mount'],
    lacking: () =>
      noProgram('dockerd') ?? (namespaces() ? undefined : 'dockerd (needs root, with the right to mount)'),
  },
  /** Docker's command line. */
  docker: { packages: ['docker.io', 'docker-cli'], lacking: () => noProgram('docker') },
  /** A Docker command line whose `build` can use BuildKit. */
  buildkit: {
    packages: ['docker.io', 'docker-buildx'],
    lacking: () => (buildkitCli() ? undefined : 'a docker with BuildKit (docker-buildx)'),
  },
  /** Docker's registry server. */
  'docker-registry': { packages: ['docker-registry'], lacking: () => noProgram('docker-registry') },
  /** busybox without shared libraries: the whole content of our image. */
  busybox: {
    packages: ['busybox-static'],
    lacking: () => noProgram('busybox') ?? (isStatic(program('busybox')!) ? undefined : 'a static busybox'),
  },
  /** A keychain on a session bus of its own, and the library that keytar loads. */
  keyring: {
    packages: ['gnome-keyring', 'dbus', 'libsecret-1-0', 'libsecret-tools'],
    lacking: () => noProgram('gnome-keyring-daemon', 'dbus-run-session', 'dbus-send', 'secret-tool'),
  },
  /** Programs with a limit of files of their own. */
  prlimit: { packages: ['util-linux'], lacking: () => notLinux() ?? noProgram('prlimit') },
  /** Connects its input and output to a socket. */
  socat: { packages: ['socat'], lacking: () => noProgram('socat') },
  /** An nc that knows Unix sockets. */
  nc: {
    packages: ['netcat-openbsd'],
    lacking: () => (knowsUnixSockets() ? undefined : 'an nc with -U (netcat-openbsd)'),
  },
  /** A pseudo-terminal to type into. */
  script: { packages: ['bsdutils'], lacking: () => notLinux() ?? noProgram('script') },
  /** Disks of our own, in memory. */
  tmpfs: {
    packages: ['util-linux', 'mount'],
    lacking: () =>
      noProgram('mount') ??
      (namespaces() ? undefined : 'disks of our own (need root, with the right to mount)'),
  },
  /** Networks of our own, with a wire between them whose speed can be set. */
  netns: {
    packages: ['iproute2', 'util-linux'],
    lacking: () =>
      noProgram('ip', 'ss', 'tc', 'nsenter') ??
      (namespaces() && inNetwork(`${WIRE} && tc qdisc add dev wire root tbf rate 1mbit burst 4kb latency 1s`)
        ? undefined
        : 'network namespaces (need root, with the right to make them)'),
  },
  /** Packets dropped and refused. */
  iptables: {
    packages: ['iptables'],
    lacking: () =>
      noProgram('iptables') ??
      (inNetwork(`${WIRE} && iptables -A OUTPUT -o wire -p tcp -j REJECT --reject-with tcp-reset`)
        ? undefined
        : 'iptables (needs root, and the kernel to know it)'),
  },
  /** Packets delayed, lost, doubled and out of order: by a program of ours. */
  tun: {
    packages: ['python3'],
    lacking: () =>
      noProgram('python3') ??
      (inNetwork('ip tuntap add dev wire mode tun') ? undefined : 'TUN devices (need root and /dev/net/tun)'),
  },
} satisfies Record<string, PartFacts>

export type Part = keyof typeof PARTS
export const ALL_PARTS = Object.keys(PARTS) as Part[]

/** What two SSH hosts with a Docker engine each are made of: ours, or the user's own server. */
export const HOST_PARTS: Part[] = theirServer() ? ['docker'] : ['sshd', 'dockerd', 'docker', 'busybox']

/** Those of `parts` that cannot be used here, each as a phrase that says why. */
export const lacking = (parts: readonly Part[]): string[] =>
  parts.map((part) => PARTS[part].lacking()).filter((why) => why !== undefined)

/** The Debian packages that bring what is lacking of `parts`. */
export const packagesFor = (parts: readonly Part[]): string[] => [
  ...new Set(parts.filter((part) => PARTS[part].lacking()).flatMap((part) => PARTS[part].packages)),
]

/** Where a program is; servers live in sbin, which users often do not have in PATH. */
export const program = (name: string): string | undefined => programs(name)[0]

/** A docker whose `build` speaks BuildKit: built in until 22, a plugin since. */
export const buildkitCli = (): string | undefined =>
  programs('docker').find((docker) => {
    const major = /^Docker version (\d+)/u.exec(outputOf(docker, '--version') ?? '')?.[1]
    return major !== undefined && (Number(major) < 23 || outputOf(docker, 'buildx', 'version') !== undefined)
  })

/** Whether we may have process and mount namespaces of our own: root, and not in a container that forbids it. */
export const namespaces = (): boolean =>
  (mayUnshare ??= ownUid() === 0 && outputOf('unshare', '--pid', '--mount', '--fork', 'true') !== undefined)

let mayUnshare: boolean | undefined

// Whether a shell script ends well in a network namespace of its own. Asked once: the answer stays the same.
const inNetwork = (script: string): boolean => {
  const known = worksInNetwork.get(script)
  if (known !== undefined) return known
  const works =
    outputOf('unshare', '--net', 'sh', '-c', `PATH=$PATH:/usr/sbin:/sbin; ${script}`) !== undefined
  worksInNetwork.set(script, works)
  return works
}

const worksInNetwork = new Map<string, boolean>()
const WIRE = 'ip link add wire type veth peer name eriw'

const programs = (name: string): string[] =>
  [...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/usr/local/sbin', '/usr/sbin', '/sbin']
    .filter((dir) => dir.startsWith('/'))
    .map((dir) => join(dir, name))
    .filter(isExecutable)

// It tells on stdout or stderr, and may call that a failure.
const knowsUnixSockets = (): boolean => / -U\b|\t-U\t/u.test(outputOf('sh', '-c', 'nc -h 2>&1; true') ?? '')

const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

const noProgram = (...names: string[]): string | undefined => names.find((name) => !program(name))

const notLinux = (): string | undefined =>
  process.platform === 'linux' ? undefined : `Linux (this is ${process.platform})`

// A dynamic ELF file names its interpreter, the loader.
const isStatic = (path: string): boolean =>
  !/\/ld-(?:linux|musl)[^\0]*\.so/u.test(readFileSync(path, 'latin1'))

const outputOf = (file: string, ...args: string[]): string | undefined => {
  try {
    return execFileSync(file, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 10_000,
    })
  } catch {
    return undefined
  }
}
