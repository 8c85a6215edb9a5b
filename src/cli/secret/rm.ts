import { DproxyError, type ExitCode } from '../../base/errors.js'
import type { Words } from '../command.js'
import { registryOf } from '../hosts.js'
import type { Io } from '../io.js'
import { placeOf, storesFor } from './place.js'

/** Also of a host that is in no file any more: what was stored for it must not stay for ever. */
export const removeSecret = async (words: Words, io: Io): Promise<ExitCode> => {
  const place = placeOf(words, await registryOf(words, io))
  const { name, kind } = place
  const store = (await storesFor(io))[place.store]
  if (!(await store.delete(place, io.interrupted))) {
    throw new DproxyError('SECRET_MISSING', `no ${kind} of ${name} is stored in ${store.describe()}`, {
      hint: 'dproxy secret ls shows what is stored; --passphrase, --alias and --store tell which is meant',
    })
  }
  if (words.json) io.out.write(`${JSON.stringify({ schemaVersion: 1, name, kind, store: place.store })}\n`)
  else if (!words.quiet) io.err.write(`removed the ${kind} of ${name} from ${store.describe()}\n`)
  return 0
}
