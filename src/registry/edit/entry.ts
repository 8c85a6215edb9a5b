import type { z } from 'zod'
import { DproxyError } from '../../base/errors.js'
import { printable } from '../../base/text.js'
import { NAME, NAME_RULE } from '../host.js'
import { problemsOf } from '../problems.js'
import { HostEntry } from '../schema.js'

/** A host as it is written into a config file. */
export interface NewHost {
  readonly name: string
  readonly entry: z.input<typeof HostEntry>
}

/** What is wrong with a host by itself, each thing as a sentence; empty when nothing is. */
export const faultsOf = ({ name, entry }: NewHost): string[] => {
  const wrongName = NAME.test(name) ? [] : [`its name ${NAME_RULE}`]
  const checked = HostEntry.safeParse(entry, { reportInput: true })
  const problems = problemsOf(checked.error?.issues ?? [], () => 1)
  return [...wrongName, ...problems.map(({ path, sentence }) => printable([path[0], sentence].join(' ')))]
}

/** @throws DproxyError USAGE with all that is wrong with the host by itself */
export const refuseFaulty = (host: NewHost): void => {
  const [first, ...more] = faultsOf(host)
  if (first === undefined) return
  throw new DproxyError(
    'USAGE',
    `"${printable(host.name)}" cannot be added: ${[first, ...more].join('; ')}`,
    {
      hint: 'dproxy host add --help',
    },
  )
}
