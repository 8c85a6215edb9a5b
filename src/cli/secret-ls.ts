import { asDproxyError, DproxyError, type ExitCode } from '../base/errors.js'
import { list } from '../base/text.js'
import { aliasIn, type Account, type SecretStore } from '../registry/secrets/store.js'
import type { Words } from './command.js'
import { registryOf } from './hosts.js'
import type { Io } from './io.js'
import { cell, paintFor, table } from './paint.js'
import { storesFor, storesIn } from './secret-place.js'

export const listSecrets = async (words: Words, io: Io): Promise<ExitCode> => {
  const stores = storesFor(io)
  const looked: Looked[] = []
  // One after the other: each may have to ask.
  for (const name of storesIn(words, await registryOf(words, io))) looked.push(await look(stores[name], io))
  if (words.json) io.out.write(`${JSON.stringify(document(looked))}\n`)
  else show(looked, words, io)
  const problem = looked.find((each) => each.problem)?.problem
  if (problem) throw problem
  return 0
}

interface Looked {
  readonly store: SecretStore
  readonly accounts: readonly Account[]
  /** Why it could not be read. */
  readonly problem: DproxyError | undefined
}

const look = async (store: SecretStore, { interrupted }: Io): Promise<Looked> => {
  try {
    return { store, accounts: await store.list(interrupted), problem: undefined }
  } catch (failure) {
    interrupted.throwIfAborted()
    return { store, accounts: [], problem: asDproxyError(failure) }
  }
}

const document = (looked: readonly Looked[]) => ({
  schemaVersion: 1,
  stores: looked.map(({ store: { name }, problem }) => ({
    name,
    readable: problem === undefined,
    problem: problem ? { code: problem.code, message: problem.message, hint: problem.hint ?? null } : null,
  })),
  secrets: looked.flatMap(({ store: { name }, accounts }) =>
    accounts.map(({ owner, kind }) => {
      const alias = aliasIn(owner) ?? null
      return { host: alias === null ? owner : null, alias, kind, store: name }
    }),
  ),
})

const show = (looked: readonly Looked[], { quiet }: Words, { out, err }: Io): void => {
  const paint = paintFor(out)
  const rows = looked.flatMap(({ store, accounts }) =>
    accounts.map(({ owner, kind }) => [paint.bold(cell(nameOf(owner))), kind, store.name]),
  )
  if (rows.length > 0)
    out.write(table([['HOST', 'SECRET', 'STORE'].map((title) => paint.dim(title)), ...rows]))
  const empty = looked.filter(({ accounts, problem }) => accounts.length === 0 && !problem)
  if (empty.length > 0 && !quiet)
    err.write(`nothing is stored in ${list(empty.map(({ store }) => store.describe()))}\n`)
}

const nameOf = (owner: string): string => {
  const alias = aliasIn(owner)
  return alias === undefined ? owner : `${alias} (alias)`
}
