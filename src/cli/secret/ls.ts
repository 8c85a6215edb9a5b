import { existsSync } from 'node:fs'
import { asDproxyError, DproxyError, type ExitCode } from '../../base/errors.js'
import { list } from '../../base/text.js'
import { secretsPath } from '../../registry/secrets/file.js'
import { masterFromFile } from '../../registry/secrets/master.js'
import { aliasIn, type Account, type SecretStore } from '../../registry/secrets/store.js'
import type { Words } from '../command.js'
import { registryOf } from '../hosts.js'
import type { Io } from '../io.js'
import { cell, paintFor, table } from '../paint.js'
import { storesFor, storesIn } from './place.js'

export const listSecrets = async (words: Words, io: Io): Promise<ExitCode> => {
  const stores = await storesFor(io)
  const names = storesIn(words, await registryOf(words, io))
  const looked: Looked[] = []
  // One after the other: each may have to ask.
  for (const name of names) looked.push(await look(stores[name], io))
  const isBeside = words.store === undefined && !names.includes('file') && existsSync(secretsPath(io.env))
  const beside = isBeside ? [await lookUnasked(stores.file, io)] : []
  if (words.json) io.out.write(`${JSON.stringify(document([...looked, ...beside]))}\n`)
  else show(looked, beside, words, io)
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

/** A file that no host uses is no reason to ask for its passphrase. */
const lookUnasked = (store: SecretStore, io: Io): Promise<Looked> | Looked => {
  if (masterFromFile(io.env)) return look(store, io)
  const what = `${store.describe()} is there, too, and was not opened: that takes its passphrase`
  const problem = new DproxyError('SECRET_STORE_LOCKED', what, { hint: 'dproxy secret ls --store file' })
  return { store, accounts: [], problem }
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

const show = (
  looked: readonly Looked[],
  beside: readonly Looked[],
  { quiet }: Words,
  { out, err }: Io,
): void => {
  const paint = paintFor(out)
  const rows = [...looked, ...beside].flatMap(({ store, accounts }) =>
    accounts.map(({ owner, kind }) => [paint.bold(cell(nameOf(owner))), kind, store.name]),
  )
  if (rows.length > 0)
    out.write(table([['HOST', 'SECRET', 'STORE'].map((title) => paint.dim(title)), ...rows]))
  if (quiet) return
  const empty = looked.filter(({ accounts, problem }) => accounts.length === 0 && !problem)
  if (empty.length > 0)
    err.write(`nothing is stored in ${list(empty.map(({ store }) => store.describe()))}\n`)
  for (const { problem } of beside)
    if (problem) err.write(`note: ${problem.message}${problem.hint ? ` (${problem.hint})` : ''}\n`)
}

const nameOf = (owner: string): string => {
  const alias = aliasIn(owner)
  return alias === undefined ? owner : `${alias} (alias)`
}
