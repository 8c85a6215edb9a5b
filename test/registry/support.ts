import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Env } from '../../src/base/paths.js'
import { DproxyError } from '../../src/base/errors.js'
import { loadRegistry, type Registry } from '../../src/registry/load.js'
import { TempDir } from '../testbed/temp-dir.js'

/** A home and a project directory of their own, so that no config of the machine is ever seen. */
export class Desk implements AsyncDisposable {
  readonly #dir: TempDir
  readonly env: Env

  static async create(): Promise<Desk> {
    const dir = await TempDir.create()
    await mkdir(join(dir.path, 'home'))
    await mkdir(join(dir.path, 'project'))
    return new Desk(dir)
  }

  constructor(dir: TempDir) {
    this.#dir = dir
    this.env = { HOME: join(dir.path, 'home'), DPROXY_RUNTIME_DIR: join(dir.path, 'run') }
  }

  get home(): string {
    return join(this.#dir.path, 'home')
  }

  get project(): string {
    return join(this.#dir.path, 'project')
  }

  get userConfig(): string {
    return join(this.home, '.config/dproxy/config.yaml')
  }

  /** Writes a file, its directories included, and returns its path. */
  async write(path: string, text: string | Buffer, mode = 0o600): Promise<string> {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, text, { mode })
    return path
  }

  /** Loads a registry as a command line in the project directory would. */
  load(configFile?: string, more: Env = {}, cwd = this.project): Promise<Registry> {
    return loadRegistry({ env: { ...this.env, ...more }, cwd, configFile })
  }

  /** Loads one config file with this text. */
  async loadText(text: string | Buffer, name = 'config.yaml'): Promise<Registry> {
    return this.load(await this.write(join(this.project, 'given', name), text))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dir[Symbol.asyncDispose]()
  }
}

/** The expected failure of some work; anything else that happens fails the test. */
export const failureOf = async (work: () => unknown): Promise<DproxyError> => {
  try {
    await work()
  } catch (failure) {
    if (failure instanceof DproxyError) return failure
    throw failure
  }
  throw new Error('it succeeded')
}

/** The lines that a config file's text gets as its problems, without the headline. */
export const problemsIn = async (text: string | Buffer, name?: string): Promise<string[]> => {
  await using desk = await Desk.create()
  const { code, message } = await failureOf(() => desk.loadText(text, name))
  if (code !== 'CONFIG_INVALID') throw new Error(`${code}: ${message}`)
  const [headline = '', ...lines] = message.split('\n')
  const amount = lines.length === 1 ? '1 problem' : `${lines.length} problems`
  if (!headline.endsWith(`: ${amount}`)) throw new Error(`the headline is ${headline}`)
  return lines.map((line) => line.trim())
}
