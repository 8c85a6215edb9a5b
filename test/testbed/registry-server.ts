import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PortTaken, onFreePort } from './free-port.js'
import { Kept } from './kept.js'
import { program } from './parts.js'
import { TempDir } from './temp-dir.js'
import { until } from './until.js'

/**
 * A real image registry on 127.0.0.1, plain HTTP: engines take every address of 127.0.0.0/8 for an insecure
 * registry that is allowed. It and what was pushed to it go with its scope.
 */
export class RegistryServer implements AsyncDisposable {
  /** `127.0.0.1:port`, the first part of the names of images that live there. */
  readonly address: string
  readonly #dir: TempDir
  readonly #kept: Kept

  static async start(): Promise<RegistryServer> {
    const dir = await TempDir.create()
    try {
      return await onFreePort(async (port) => {
        const address = `127.0.0.1:${port}`
        return new RegistryServer(address, dir, await launch(dir.path, address))
      })
    } catch (failure) {
      await dir[Symbol.asyncDispose]()
      throw failure
    }
  }

  private constructor(address: string, dir: TempDir, kept: Kept) {
    this.address = address
    this.#dir = dir
    this.#kept = kept
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kept[Symbol.asyncDispose]()
    await this.#dir[Symbol.asyncDispose]()
  }
}

const launch = async (dir: string, address: string): Promise<Kept> => {
  const config = join(dir, 'config.json')
  // YAML takes JSON; the blanks of an indented document are not worth getting wrong.
  await writeFile(
    config,
    JSON.stringify({
      version: 0.1,
      log: { level: 'warn' },
      storage: { filesystem: { rootdirectory: join(dir, 'data') } },
      http: { addr: address },
    }),
  )
  const log = join(dir, 'registry.log')
  const kept = Kept.start([program('docker-registry') ?? 'docker-registry', 'serve', config], { dir, log })
  const answering = until(`the registry answers (${log})`, async () => {
    const { ok } = await fetch(`http://${address}/v2/`)
    return ok
  })
  try {
    await Promise.race([answering, kept.exited.then((code) => explain(code, log))])
    return kept
  } catch (failure) {
    await kept.endButKeepDir()
    throw failure
  }
}

const explain = async (code: number, log: string): Promise<never> => {
  const said = await readFile(log, 'utf8')
  if (said.includes('address already in use')) throw new PortTaken(said)
  throw new Error(`docker-registry ended with ${code}: ${said}`)
}
