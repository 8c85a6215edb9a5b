import { stat } from 'node:fs/promises'
import { ownUid, type Env } from '../../base/paths.js'
import type { HostDefinition } from '../../control/messages.js'
import { checkFile } from '../../registry/check.js'
import { readConfigFile } from '../../registry/read-file.js'
import type { Notes } from './report.js'

/** Where the host is described, and who may read and change that. The registry has read the files before. */
export const lookAtConfig = async (
  { name, typed }: HostDefinition,
  files: readonly string[],
  env: Env,
  notes: Notes,
): Promise<void> => {
  for (const file of typed === name ? files : []) {
    const text = await readConfigFile(file)
    // Of the file's origin only the problems depend, and it has none.
    const line = text === undefined ? undefined : checkFile(file, text, 'user', env).names.get(name)
    if (line === undefined) continue
    const { mode, uid } = await stat(file)
    const owner = uid === ownUid() ? 'yours' : `of uid ${uid}`
    notes.fact(`${file} line ${line} (mode ${octal(mode)}, ${owner})`)
    return
  }
  notes.fact(`in no file: ${typed}`)
}

/** The permissions of a file as chmod takes them. */
export const octal = (mode: number): string => (mode & 0o777).toString(8).padStart(4, '0')
