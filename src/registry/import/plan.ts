import { printable } from '../../base/text.js'
import { parseDestination } from '../destination.js'
import { faultsOf, type NewHost } from '../edit/entry.js'
import type { HostPlace } from '../edit/places.js'
import { sameNameKey } from '../host.js'
import { matches } from './wildcard.js'

export interface Plan {
  readonly added: readonly NewHost[]
  /** Hosts that stay out, each with the reason; `known`: only because they are there already. */
  readonly skipped: readonly { readonly name: string; readonly reason: string; readonly known: boolean }[]
}

/** The hosts whose names match one of the patterns, in any letter case; without patterns all of them. */
export const picked = (hosts: readonly NewHost[], patterns: readonly string[]): NewHost[] =>
  patterns.length === 0
    ? [...hosts]
    : hosts.filter(({ name }) => patterns.some((pattern) => matches(sameNameKey(pattern), sameNameKey(name))))

/** Which of the found hosts can be added to those there are, under their names with `prefix` before them. */
export const planImport = (
  found: readonly NewHost[],
  prefix: string,
  present: readonly HostPlace[],
): Plan => {
  const added: NewHost[] = []
  const skipped: Plan['skipped'][number][] = []
  const taken = new Map(present.map((place) => [sameNameKey(place.host.name), place]))
  const names = new Set<string>()
  for (const { name: theirs, entry } of found) {
    const name = prefix + theirs
    const skip = (reason: string, known = false) =>
      skipped.push({ name: printable(name), reason: printable(reason), known })
    const faults = faultsOf({ name, entry })
    const owner = taken.get(sameNameKey(name))
    if (owner) {
      const known = isSamePlace(owner, entry.ssh)
      skip(
        known
          ? `it is there already, on line ${owner.line} of ${owner.file}`
          : `the name is taken by the host on line ${owner.line} of ${owner.file}; --prefix gives others`,
        known,
      )
    } else if (names.has(sameNameKey(name))) skip('another one has the same name: letter case does not count')
    else if (faults.length > 0) skip(faults.join('; '))
    else {
      names.add(sameNameKey(name))
      added.push({ name, entry })
    }
  }
  return { added, skipped }
}

const isSamePlace = ({ host }: HostPlace, ssh: string): boolean => {
  const place = parseDestination(ssh)
  return (
    place.ok &&
    place.value.destination === host.destination &&
    place.value.user === host.user &&
    place.value.port === host.port
  )
}
