import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Scope } from '../../../src/base/scope.js'
import type { Lookup } from '../../../src/ssh/known-hosts/read.js'
import { generateThrowAwayKey } from '../../../src/ssh/throw-away-key.js'
import { TempDir } from '../../testbed/temp-dir.js'

/** How a server is looked up, differing from `example.com` and no file in what `changes` say. */
export const lookupOf = ({
  files = [],
  revoked = null,
  host = 'example.com',
  port = 22,
  alias = null,
}: {
  files?: readonly string[]
  revoked?: string | null
  host?: string
  port?: number
  alias?: string | null
} = {}): Lookup => ({
  knownHostsFiles: files,
  revokedHostKeysFile: revoked,
  hostKeyName: { host, port, alias },
})

/** A file with this content, gone with its scope. */
export const fileWith = async (scope: Scope, content: string, name = 'known_hosts'): Promise<string> => {
  const dir = scope.use(await TempDir.create())
  const file = join(dir.path, name)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, content)
  return file
}

export const blobIn = (line: string): Buffer => Buffer.from(line.split(' ')[1] ?? '', 'base64')

export const ours = generateThrowAwayKey()
export const other = generateThrowAwayKey()

/** A line of known_hosts. */
export const line = (names: string, key = ours.publicKeyLine): string => `${names} ${key}\n`
