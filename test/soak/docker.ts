import type { World } from '../testbed/cli.js'
import type { SoakHost } from './site.js'
import type { Outcome } from './tally.js'

/** How a client ended that did not end well. */
export const endOf = (stderr: string): Outcome => {
  if (/dproxy: \w+: /u.test(stderr)) return 'refused'
  return stderr.includes('Cannot connect to the Docker daemon') ? 'away' : 'cut'
}

/** How a client of docker ended. */
export interface Ended {
  readonly exitCode: number | undefined
  readonly stdout: string
  readonly stderr: string
  readonly timedOut: boolean
}

/** Runs docker on a host's socket, for at most a minute; or until `stop` aborts. */
export const docker = async (
  world: World,
  host: SoakHost,
  words: string[],
  stop?: AbortSignal,
): Promise<Ended> => {
  const env = { DOCKER_HOST: `unix://${host.socket}` }
  const running = world.spawn('docker', words, { env, timeoutMs: stop ? 3_600_000 : 60_000 })
  const end = () => void running.kill('SIGKILL')
  stop?.addEventListener('abort', end, { once: true })
  if (stop?.aborted) end()
  try {
    const { exitCode, stdout, stderr, timedOut } = await running
    return { exitCode, stdout, stderr, timedOut }
  } finally {
    stop?.removeEventListener('abort', end)
  }
}
