import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { homeOf, type Env } from '../../base/paths.js'
import { printable } from '../../base/text.js'
import type { NewHost } from '../edit/entry.js'
import type { Found } from './candidate.js'

const ANSWERS_WITHIN_MS = 10_000

/**
 * The hosts that Docker's contexts with an `ssh://` endpoint mean. Asks `docker`; where it is missing, or gives
 * up because of one context that is broken, its files are read instead.
 */
export const dockerContextHosts = async (env: Env): Promise<Found> => {
  const contexts = (await askDocker(env)) ?? (await readFiles(env))
  const hosts = contexts.flatMap((context) => ('note' in context ? [] : (hostOf(context) ?? [])))
  return { hosts, notes: contexts.flatMap((context) => ('note' in context ? [context.note] : [])) }
}

interface Context {
  readonly name: string
  /** Where its Docker engine is: `ssh://user@host`, `unix:///var/run/docker.sock`. */
  readonly endpoint: string
  readonly description: string
}

interface Broken {
  readonly note: string
}

const askDocker = async (env: Env): Promise<(Context | Broken)[] | undefined> => {
  // With these, `docker context ls` would speak of the environment instead.
  const { DOCKER_HOST: _, DOCKER_CONTEXT: __, ...rest } = env
  try {
    const { stdout } = await promisify(execFile)('docker', ['context', 'ls', '--format', '{{json .}}'], {
      env: rest,
      timeout: ANSWERS_WITHIN_MS,
      killSignal: 'SIGKILL',
    })
    return stdout
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line): Context | Broken => {
        const { Name: name, DockerEndpoint: endpoint, Description: description, Error: error } = dataIn(line)
        if (isText(error) && error !== '') return broken(name, error)
        return isText(name) && isText(endpoint)
          ? { name, endpoint, description: isText(description) ? description : '' }
          : broken(name, 'it has no endpoint')
      })
  } catch {
    return undefined
  }
}

/** Docker's own store of contexts, one directory for each: docker/cli, cli/context/store. */
const readFiles = async (env: Env): Promise<(Context | Broken)[]> => {
  const store = join(env.DOCKER_CONFIG || join(homeOf(env), '.docker'), 'contexts/meta')
  const dirs = await readdir(store).catch(() => [])
  const contexts = await Promise.all(
    dirs.map(async (dir): Promise<Context | Broken> => {
      const file = join(store, dir, 'meta.json')
      try {
        const { Name: name, Metadata: metadata, Endpoints: endpoints } = dataIn(await readFile(file, 'utf8'))
        const { Host: endpoint } = recordOf(recordOf(endpoints).docker)
        const { Description: description } = recordOf(metadata)
        if (!isText(name) || !isText(endpoint)) return broken(name, `${file} names no endpoint`)
        return { name, endpoint, description: isText(description) ? description : '' }
      } catch (failure) {
        return broken(undefined, `${file}: ${failure instanceof Error ? failure.message : String(failure)}`)
      }
    }),
  )
  return contexts.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
}

const nameOf = (context: Context | Broken): string => ('name' in context ? context.name : '')

/** docker/cli takes the path of an `ssh://` endpoint as that of the engine's socket over there. */
const hostOf = ({ name, endpoint, description }: Context): NewHost | undefined => {
  const [, ssh, path] = /^(ssh:\/\/[^/]*)(\/.*)?$/su.exec(endpoint) ?? []
  if (ssh === undefined) return undefined
  const entry = {
    ssh,
    ...(path !== undefined && path !== '/' && { remoteSocket: path }),
    ...(description !== '' && { description }),
  }
  return { name, entry }
}

const broken = (name: unknown, why: string): Broken => ({
  note: printable(`a Docker context${isText(name) ? ` (${name})` : ''} cannot be read: ${why}`),
})

const isText = (value: unknown): value is string => typeof value === 'string'

const dataIn = (text: string): Record<string, unknown> => recordOf(JSON.parse(text))

const recordOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
