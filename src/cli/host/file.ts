import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { userConfigPath } from '../../base/paths.js'
import { makeDirs } from '../../base/private-dir.js'
import { fileToEdit, type EditOptions } from '../../registry/edit/edit.js'
import { hostsBeside } from '../../registry/edit/places.js'
import type { WhereToLook } from '../../registry/load.js'
import type { GlobalWords, Io } from '../io.js'

/** Where this command line looks for hosts. */
export const whereOf = ({ config }: Pick<GlobalWords, 'config'>, { env, cwd }: Io): WhereToLook => ({
  env,
  cwd,
  configFile: config,
})

/** The file that this command line changes, and what must be known to add hosts to it. */
export const editing = async (words: GlobalWords, io: Io): Promise<EditOptions & { file: string }> => {
  const where = whereOf(words, io)
  const file = fileToEdit(where)
  return { file, env: io.env, others: await hostsBeside(file, where), schema: schemaOf(io) }
}

/** Makes the directory of the user's own file; that of a file somebody names may be a typing error. */
export const makePlace = async (file: string, { env }: Io): Promise<void> => {
  // What keeps it from being made is told when the file is written.
  if (file === userConfigPath(env)) await makeDirs(dirname(file)).catch(() => undefined)
}

/** The schema that came with this dproxy, for editors: it knows the keys of this version. */
export const schemaOf = ({ self: [, main] }: Io): string =>
  pathToFileURL(join(dirname(main), '../config.schema.json')).href

/** A path of the command line as it must stand in a file: one that depends on where we are is made absolute. */
export const pathForFile = (path: string, { cwd }: Io): string =>
  path === '' || path === '~' || /^(~\/|\{(runtime|home)\})/u.test(path) ? path : resolve(cwd, path)
