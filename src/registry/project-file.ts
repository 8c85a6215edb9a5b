import type { Path, Problem } from './problems.js'

/** Who wrote a file: the user, or whoever made the directory we were started in. */
export type Origin = 'user' | 'project'

const COMMANDS = ['proxyCommand', 'passphraseCommand', 'passwordCommand'] as const

/** Commands in a project file: refused for good, since a cloned repository must not run anything. */
export const commandProblems = (
  file: Record<string, unknown>,
  origin: Origin,
  lineOf: (path: Path) => number,
): Problem[] => {
  if (origin === 'user') return []
  const entries = Object.entries(asEntry(file.hosts)).map(([name, entry]) => ({
    path: ['hosts', name],
    entry,
  }))
  return [{ path: ['defaults'], entry: file.defaults }, ...entries].flatMap(({ path, entry }) =>
    COMMANDS.filter((key) => Object.hasOwn(asEntry(entry), key)).map((key) => {
      const place = [...path, key]
      const sentence = 'must not be set in a project file: it would run a command'
      return { line: lineOf(place), path: place, sentence }
    }),
  )
}

const asEntry = (value: unknown): object => (typeof value === 'object' && value !== null ? value : {})
