import { mkdtemp, rm } from 'node:fs/promises'

/**
 * A directory that goes with its scope. In /tmp itself: the path of a socket in it must fit into 103 bytes,
 * and the temporary directory of macOS alone takes half of them.
 */
export class TempDir implements AsyncDisposable {
  readonly path: string

  static async create(): Promise<TempDir> {
    return new TempDir(await mkdtemp('/tmp/dptb-'))
  }

  private constructor(path: string) {
    this.path = path
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}
