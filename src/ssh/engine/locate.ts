import { DproxyError } from '../../base/errors.js'
import { shellWord } from '../../base/text.js'
import { within } from '../../base/timeout.js'
import type { RawLane, RemoteCommand } from '../raw-lane.js'
import { where } from '../target.js'
import { cannotOpen } from './cannot-open.js'
import { DEFAULT_REMOTE_SOCKET } from './remote-socket.js'
import { LOOK_COMMAND, lookOf, OTHER_ENGINES, type Look, type Named, type Place } from './usual-places.js'

/** Where the engine was found, and what else there is to say of it. */
export interface Found {
  readonly path: string
  /** Whose engine is usually there, or how the path was named there; null: nothing could be seen there. */
  readonly whose: string | null
  /** Lines for people, printable: where else somebody listens, and what was not followed. */
  readonly notes: readonly string[]
}

/** There is none that the user may use. */
export class NoEngineSocket extends DproxyError {
  /** The paths that were looked at, each with what is there; printable. */
  readonly looked: readonly string[]

  constructor({ code, message, hint, stage }: DproxyError, looked: readonly string[]) {
    super(code, message, { hint, stage })
    this.looked = looked
  }
}

/**
 * Finds the engine's socket on the remote machine, for who did not say where it is: the one that Docker's own
 * command line would use there; else the first of the usual places where somebody listens, as far as can be seen.
 * On a server that runs no commands for us that is simply {@link DEFAULT_REMOTE_SOCKET}.
 * @throws NoEngineSocket ENGINE_SOCKET_MISSING or ENGINE_SOCKET_DENIED; the reason of `raw.lost`
 */
export const locate = async (raw: RawLane): Promise<Found> => {
  const look = await lookThere(raw)
  if (!look) return { path: DEFAULT_REMOTE_SOCKET, whose: null, notes: [] }
  const { named, places } = look
  // Never another one instead: whoever has named it there means that one, also while it is away.
  if (named?.place) {
    if (!isUsable(named.place)) throw notAsNamed(raw, named, named.place)
    return foundAt(named.place, look)
  }
  const usable = distinct(places.filter(isUsable))
  for (const place of usable) {
    // The only one is tried by whoever comes, who then hears what is wrong with it.
    const isIt = place.state === 'listening' || (usable.length > 1 && (await opens(raw, place.path)))
    if (isIt) return foundAt(place, look)
  }
  const [first] = usable
  if (first) return foundAt(first, look)
  throw noneUsable(raw, look)
}

const LOOK_LIMIT_MS = 5000
const LONGEST_SAID = 64 * 1024

/** undefined: the server runs no commands for us, or they take too long. */
const lookThere = async (raw: RawLane): Promise<Look | undefined> => {
  let command: RemoteCommand | undefined
  try {
    const said = await within(LOOK_LIMIT_MS, raw.lost, noAnswer, async (signal) => {
      command = await raw.exec(LOOK_COMMAND, signal)
      command.stream.end()
      return outputOf(command)
    })
    return lookOf(said)
  } catch {
    raw.lost.throwIfAborted()
    return undefined
  } finally {
    command?.stream.destroy()
  }
}

const noAnswer = (): Error => new Error('no answer')

const outputOf = async ({ stream }: RemoteCommand): Promise<string> => {
  const pieces: Buffer[] = []
  let length = 0
  for await (const piece of stream) {
    pieces.push(piece as Buffer)
    length += (piece as Buffer).length
    // A flood is not read to its end.
    if (length > LONGEST_SAID) break
  }
  return Buffer.concat(pieces).toString('utf8')
}

const isUsable = ({ state }: Place): boolean => state === 'listening' || state === 'usable'

const distinct = (places: readonly Place[]): Place[] =>
  places.filter(({ real }, index) => places.findIndex((each) => each.real === real) === index)

/** Whether somebody takes a connection there, where that could not be seen. */
const opens = async (raw: RawLane, path: string): Promise<boolean> => {
  try {
    const stream = await raw.openStream(path, raw.lost)
    stream.destroy()
    return true
  } catch {
    raw.lost.throwIfAborted()
    return false
  }
}

const foundAt = ({ path, whose, real }: Place, { named, places }: Look): Found => {
  const others = distinct(places.filter((each) => each.state === 'listening' && each.real !== real))
  return {
    path,
    whose,
    notes: [
      ...(named && !named.place ? [notFollowed(named)] : []),
      ...others.map((other) => `another engine listens at ${other.path} (${other.whose})`),
    ],
  }
}

const notFollowed = ({ by, url }: Named): string => `${by} there is ${url}, which is not followed`

const notAsNamed = (raw: RawLane, { by, url }: Named, place: Place): DproxyError => {
  const { resolved } = raw
  const { code, message, hint } = cannotOpen(resolved, place.path, undefined, place.state)
  const details = {
    stage: 'engine',
    hint:
      place.state === 'denied'
        ? hint
        : `mend ${by} there, or name the engine's socket with \`remoteSocket:\``,
  } as const
  const said = new DproxyError(code, `${message}, which ${by} there names`, details)
  return new NoEngineSocket(said, [`${by} there is ${url}`, ...lookedAt([place])])
}

const noneUsable = ({ resolved }: RawLane, { named, places }: Look): DproxyError => {
  const looked = [...(named ? [notFollowed(named)] : []), ...lookedAt(places)]
  const [usual] = places
  const denied = places.find(({ state }) => state === 'denied') ?? usual
  if (denied && denied.state !== 'missing') {
    return new NoEngineSocket(cannotOpen(resolved, denied.path, undefined, denied.state), looked)
  }
  const message = `there is no ${DEFAULT_REMOTE_SOCKET} on ${where(resolved)}, nor a socket where ${OTHER_ENGINES} have theirs`
  const all = `all places: dproxy doctor ${shellWord(resolved.typed)}`
  const hint = named
    ? `${notFollowed(named)}: give dproxy the machine that it means, or name a socket with \`remoteSocket:\`; ${all}`
    : `is Docker installed and running there (there: systemctl status docker)? name its socket with \`remoteSocket:\` or --remote-socket if it is elsewhere; ${all}`
  return new NoEngineSocket(
    new DproxyError('ENGINE_SOCKET_MISSING', message, { stage: 'engine', hint }),
    looked,
  )
}

const lookedAt = (places: readonly Place[]): string[] =>
  places.map(({ path, state }) => `looked at ${path}: ${SEEN[state]}`)

const SEEN = {
  listening: 'somebody listens',
  usable: 'a socket',
  denied: 'permission denied',
  other: 'not a socket',
  missing: 'nothing there',
} as const
