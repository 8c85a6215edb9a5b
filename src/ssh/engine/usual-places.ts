/** Where engines listen on a remote machine: the command that looks there, and what it says. */
import { printable } from '../../base/text.js'
import { DEFAULT_REMOTE_SOCKET } from './remote-socket.js'

/** A path at which an engine may listen, as the remote user finds it. */
export interface Place {
  /** `usable`: a socket; that anybody listens behind it could not be seen. */
  readonly state: (typeof STATES)[number]
  readonly path: string
  /** Whose engine is usually there; of a path that was named there, how. */
  readonly whose: string
  /** Where the path leads to: two places that are one have the same. */
  readonly real: string
}

/** What Docker's own command line goes by there. */
export interface Named {
  /** How it was named, as a noun. */
  readonly by: string
  /** As Docker takes it: `unix:///…`, `tcp://…`, `ssh://…`; printable. */
  readonly url: string
  /** undefined: it is no socket of that machine. */
  readonly place: Place | undefined
}

export interface Look {
  readonly named: Named | undefined
  /** Each path once, the first choice first. */
  readonly places: readonly Place[]
}

const STATES = ['listening', 'usable', 'denied', 'other', 'missing'] as const

// In the order of preference, as sh spells them: `u` is the user's id, `r` the runtime directory, `h` the home.
// dockerd(8); docs.docker.com/engine/security/rootless/tips, where the runtime directory of a system without
// systemd is ~/.docker/run, as is Docker Desktop's on macOS; podman-system-service(1). A session by SSH may have
// no XDG_RUNTIME_DIR although /run/user/… is there.
const USUAL: readonly { readonly at: string; readonly whose: string }[] = [
  { at: DEFAULT_REMOTE_SOCKET, whose: 'Docker' },
  { at: '$r/docker.sock', whose: 'rootless Docker' },
  { at: '/run/user/$u/docker.sock', whose: 'rootless Docker' },
  { at: '$h/.docker/run/docker.sock', whose: 'Docker Desktop or rootless Docker' },
  { at: '$h/.docker/desktop/docker.sock', whose: 'Docker Desktop' },
  { at: '/run/podman/podman.sock', whose: 'Podman' },
  { at: '$r/podman/podman.sock', whose: 'rootless Podman' },
  { at: '/run/user/$u/podman/podman.sock', whose: 'rootless Podman' },
  { at: '$h/.colima/default/docker.sock', whose: 'Colima' },
  { at: '$h/.orbstack/run/docker.sock', whose: 'OrbStack' },
  { at: '$h/.rd/docker.sock', whose: 'Rancher Desktop' },
]

/** Whose places those are, but for the first. */
export const OTHER_ENGINES = 'rootless Docker, Docker Desktop, Podman, Colima, OrbStack or Rancher Desktop'

// Docker's command line takes DOCKER_HOST first, then DOCKER_CONTEXT, then the current context of its
// configuration (docs.docker.com/engine/manage-resources/contexts). What a context means, only it knows.
const NAMED = [
  't=$DOCKER_HOST; b=host',
  'if [ -z "$t" ]; then b=context',
  'if [ -n "$DOCKER_CONTEXT" ] || grep -q currentContext "${DOCKER_CONFIG:-$h/.docker}/config.json" 2>/dev/null',
  'then t=$(docker context inspect -f "{{.Endpoints.docker.Host}}" 2>/dev/null </dev/null); fi; fi',
  'printf "\\n@dproxy %s\\t%s\\n" "$b" "$t"',
  'case "$t" in unix://?*) l named "${t#unix://}";; esac',
]

// That somebody listens is read from /proc/net/unix (proc(5)): flag 10000 is __SO_ACCEPTCON, and a path stands
// there as it was bound. What is not found there may still be: rootless Docker may bind its socket in a network
// namespace of its own.
const LOOK_AT_ONE = [
  'l() { q=',
  'if [ -S "$2" ]; then if [ -w "$2" ]; then s=usable',
  'q=$(readlink -f "$2" 2>/dev/null); q=${q:-$2}',
  'case "$n$e" in *" $2$e"*|*" $q$e"*) s=listening;; esac',
  'else s=denied; fi',
  'elif [ -e "$2" ]; then s=other; else s=missing; fi',
  'printf "\\n@dproxy %s\\t%s\\t%s\\t%s\\n" "$s" "$1" "$2" "$q"; }',
]

const SCRIPT = [
  'n=$(grep -F " 00010000 " /proc/net/unix 2>/dev/null); e=$(printf "\\nx"); e=${e%x}',
  'u=$(id -u); r=${XDG_RUNTIME_DIR:-/run/user/$u}; h=$HOME',
  ...LOOK_AT_ONE,
  ...NAMED,
  ...USUAL.map(({ at }, index) => `l ${index} "${at}"`),
  'printf "\\n@dproxy end\\n"',
]

// A constant, and alike to every login shell in use: it has no quote, newline or `!` in it (csh), and no backslash
// before a quote or another backslash (fish).
export const LOOK_COMMAND = `sh -c '${SCRIPT.join('; ')}'`

const BY: Readonly<Record<string, string>> = { host: 'DOCKER_HOST', context: "Docker's current context" }

/**
 * What the command said, whatever the login shell said before it. undefined: it did not come to its end, as where
 * the server runs no commands, or another one.
 */
export const lookOf = (said: string): Look | undefined => {
  const lines = said
    .split('\n')
    .filter((line) => line.startsWith(MARK))
    .map((line) => line.slice(MARK.length).split('\t'))
  if (lines.at(-1)?.[0] !== 'end') return undefined
  const places = new Map<string, Place>()
  let named: Named | undefined
  for (const [first = '', second = '', path = '', real = ''] of lines) {
    const by = BY[first]
    if (by !== undefined && isTelling(first, second)) named = { by, url: printable(second), place: undefined }
    const state = STATES.find((each) => each === first)
    if (state === undefined || !isPath(path)) continue
    const whose = USUAL[Number(second)]?.whose
    if (second === 'named' && named) {
      named = { ...named, place: { state, path, whose: named.by, real: real || path } }
    } else if (whose !== undefined && !places.has(path)) {
      places.set(path, { state, path, whose, real: real || path })
    }
  }
  return places.size === 0 ? undefined : { named, places: [...places.values()] }
}

const MARK = '@dproxy '

/** `unix://` alone, and the context that everybody has, are Docker's default. */
const isTelling = (by: string, url: string): boolean =>
  url !== '' && url !== 'unix://' && !(by === 'context' && url === `unix://${DEFAULT_REMOTE_SOCKET}`)

/** No engine's socket has a longer path (PATH_MAX), or one that a terminal would obey. */
const isPath = (text: string): boolean =>
  text.startsWith('/') && text.length <= 4096 && printable(text) === text
