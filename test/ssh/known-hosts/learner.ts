import { build } from 'esbuild'
import { execa } from 'execa'
import { join } from 'node:path'
import type { Place } from '../../../src/ssh/known-hosts/learn.js'
import type { Lookup } from '../../../src/ssh/known-hosts/read.js'
import { namespaces } from '../../testbed/parts.js'
import { TempDir } from '../../testbed/temp-dir.js'

/** `learnHostKey` in processes of their own. */
export class Learner implements AsyncDisposable {
  readonly #dir: TempDir

  static async create(): Promise<Learner> {
    const dir = await TempDir.create()
    await build({
      entryPoints: [join(import.meta.dirname, '../../../src/ssh/known-hosts/learn.ts')],
      outfile: join(dir.path, 'learn.mjs'),
      bundle: true,
      platform: 'node',
      format: 'esm',
      logLevel: 'error',
    })
    return new Learner(dir)
  }

  private constructor(dir: TempDir) {
    this.#dir = dir
  }

  /** Learns each of `keys` at once in a new process; where namespaces allow it, with
   * a directory made read-only, all but one file in it. */
  async learn(
    lookup: Lookup,
    keys: readonly Buffer[],
    { readOnlyDir, writableFile = '' }: { readOnlyDir?: string; writableFile?: string } = {},
  ): Promise<(Place | { code: string })[]> {
    const node = [
      process.execPath,
      '--input-type=module',
      '--eval',
      SCRIPT,
      join(this.#dir.path, 'learn.mjs'),
    ]
    const apart = readOnlyDir !== undefined && namespaces()
    const [program = '', ...words] = apart
      ? ['unshare', '--mount', 'sh', '-c', READ_ONLY, 'sh', readOnlyDir, writableFile, ...node]
      : node
    const input = JSON.stringify({ lookup, keys: keys.map((key) => key.toString('base64')) })
    const { stdout } = await execa(program, words, { input })
    return JSON.parse(stdout) as (Place | { code: string })[]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dir[Symbol.asyncDispose]()
  }
}

const READ_ONLY = `set -e
dir=$1 file=$2
shift 2
mount --bind "$dir" "$dir"
[ -z "$file" ] || mount --bind "$file" "$file"
mount -o remount,bind,ro "$dir"
exec "$@"`

const SCRIPT = `
import { text } from 'node:stream/consumers'
const { learnHostKey } = await import(process.argv[1])
const { lookup, keys } = JSON.parse(await text(process.stdin))
const attempts = keys.map((key, at) => {
  const { host } = lookup.hostKeyName
  const hostKeyName = { ...lookup.hostKeyName, host: host.replace('{}', at) }
  return learnHostKey({ ...lookup, hostKeyName }, Buffer.from(key, 'base64')).catch(({ code }) => ({ code }))
})
console.log(JSON.stringify(await Promise.all(attempts)))
`
