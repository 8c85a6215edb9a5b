import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { World } from '../testbed/cli.js'
import { VISITOR_HEADER } from '../testbed/gate.js'
import { program } from '../testbed/parts.js'
import { Pty } from '../testbed/pty.js'

/** How a client of docker ended. */
export interface End {
  readonly code: number | undefined
  /** When, on the clock of performance.now. */
  readonly atMs: number
  readonly text: string
  readonly hung: boolean
}

export interface StartOptions {
  readonly input?: Uint8Array | 'open'
  readonly terminal?: boolean
  readonly env?: Record<string, string>
  /** Another docker than the usual one. */
  readonly program?: string
  /** Who it says it is: see Gate. */
  readonly visitor?: string
}

/** A client of docker under way. */
export interface Client {
  /** What it printed so far, on both outputs. */
  readonly text: string
  readonly end: Promise<End>
  /** Ends it, if the end of its world does not. */
  [Symbol.asyncDispose]?(): Promise<void>
}

export const DOCKER = program('docker') ?? 'docker'

// A client that has not ended so long after its start never will.
const HANGS_AFTER_MS = 50_000

/** Starts docker on dproxy's socket for the host prod. */
export const startClient = async (
  world: World,
  words: readonly string[],
  options: StartOptions,
): Promise<Client> => {
  const { visitor = 'nobody', terminal = false, program: file = DOCKER } = options
  const dir = join(world.dir, 'docker', visitor)
  await mkdir(dir, { recursive: true })
  await writeFile(join(dir, 'config.json'), JSON.stringify({ HttpHeaders: { [VISITOR_HEADER]: visitor } }))
  const env = { ...world.dockerEnv('prod'), DOCKER_CONFIG: dir, ...options.env }
  return (terminal ? onTerminal : onPipes)(world, [file, ...words], env, options.input)
}

const onPipes = (
  world: World,
  [file = '', ...words]: readonly string[],
  env: Record<string, string>,
  input: StartOptions['input'],
): Client => {
  const given = input === undefined ? {} : { input }
  const running = world.spawn(file, words, { ...given, env, timeoutMs: HANGS_AFTER_MS })
  let text = ''
  for (const output of [running.stdout, running.stderr])
    output.setEncoding('utf8').on('data', (piece: string) => (text += piece))
  const end = running.then(({ exitCode, timedOut }) => ({
    code: exitCode,
    atMs: performance.now(),
    text,
    hung: timedOut,
  }))
  return {
    end,
    get text() {
      return text
    },
  }
}

const onTerminal = (world: World, command: readonly string[], env: Record<string, string>): Client => {
  const pty = Pty.start(command, { env: { ...world.env, ...env }, cwd: join(world.dir, 'work') })
  let hung = false
  const timer = setTimeout(() => ((hung = true), void pty[Symbol.asyncDispose]()), HANGS_AFTER_MS)
  const end = pty.exitCode.then((code) => {
    clearTimeout(timer)
    return { code, atMs: performance.now(), text: pty.output, hung }
  })
  return {
    end,
    get text() {
      return pty.output
    },
    [Symbol.asyncDispose]: () => pty[Symbol.asyncDispose](),
  }
}
