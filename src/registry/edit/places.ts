import { asDproxyError } from '../../base/errors.js'
import { checkFile } from '../check.js'
import type { Host } from '../host.js'
import { loadRegistry, type WhereToLook } from '../load.js'
import { readConfigFile } from '../read-file.js'

/** A host of the registry and where it is described. */
export interface HostPlace {
  readonly host: Host
  /** Absolute. */
  readonly file: string
  /** Counted from 1. */
  readonly line: number
}

/**
 * Every host of the registry with its file and line, in the registry's order.
 * @throws DproxyError as `loadRegistry`
 */
export const hostPlaces = async (where: WhereToLook): Promise<HostPlace[]> => {
  const { files } = await loadRegistry(where)
  const places = await Promise.all(
    files.map(async (file) => {
      const { hosts } = checkFile(file, (await readConfigFile(file)) ?? '', 'user', where.env)
      return hosts.map(({ host, line }) => ({ host, file, line }))
    }),
  )
  return places.flat()
}

/** The hosts that are read together with those of `file`. A config that does not load has none to speak of. */
export const hostsBeside = async (file: string, where: WhereToLook): Promise<HostPlace[]> => {
  try {
    return (await hostPlaces(where)).filter((place) => place.file !== file)
  } catch (failure) {
    const { code } = asDproxyError(failure)
    if (code === 'CONFIG_INVALID' || code === 'CONFIG_MISSING') return []
    throw failure
  }
}
