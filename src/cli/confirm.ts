import { DproxyError } from '../base/errors.js'
import { list } from '../base/text.js'
import type { Words } from './command.js'
import type { Io } from './io.js'

/**
 * Asks before something that cuts protected hosts; returns when the user agrees, or `--yes` was given.
 * @throws DproxyError USAGE where nobody can be asked, STOPPED when the answer is no
 */
export const confirmed = async (
  names: readonly string[],
  verb: string,
  { yes }: Words,
  { ask }: Io,
  why = '',
): Promise<void> => {
  if (names.length === 0 || yes === true) return
  const which = `${list(names)} ${names.length === 1 ? 'is' : 'are'} protected${why === '' ? '' : ` and ${why}`}`
  if (!ask) {
    throw new DproxyError('USAGE', `${which}, and there is no terminal to ask at`, {
      hint: `to ${verb} without being asked, add --yes`,
    })
  }
  const answer = await ask(`${which}: ${verb} anyway? [y/N] `)
  if (/^y(es)?$/iu.test(answer.trim())) return
  throw new DproxyError('STOPPED', `nothing was changed: ${verb} was not confirmed`)
}
