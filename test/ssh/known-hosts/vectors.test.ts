/** Verdicts that were checked against the real ssh; vectors.json says where ours are stricter, and why. */
import { existsSync, readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { DproxyError } from '../../../src/base/errors.js'
import { ownUid } from '../../../src/base/paths.js'
import { Scope } from '../../../src/base/scope.js'
import { hostKeyOrder } from '../../../src/ssh/known-hosts/host-key.js'
import { judge, type Verdict } from '../../../src/ssh/known-hosts/judge.js'
import { learnHostKey } from '../../../src/ssh/known-hosts/learn.js'
import { readKnownHosts, type Lookup } from '../../../src/ssh/known-hosts/read.js'
import { namespaces } from '../../testbed/parts.js'
import { skippedTitle } from '../../testbed/skipped.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { Learner } from './learner.js'
import { lookupOf } from './support.js'

type Outcome = 'ok' | 'error' | Exclude<Verdict['kind'], 'known'>

interface Vector {
  readonly id: string
  readonly files: readonly (string | null)[]
  readonly host: string
  readonly port: number
  readonly hostKeyAlias: string | null
  readonly server: readonly { readonly type: string; readonly key: string; readonly certificate?: string }[]
  readonly negotiatedAlgorithm: string | null
  readonly dproxy: Outcome
  readonly dproxyRawKeyOnly?: Outcome
  readonly matched?: { readonly kind: 'key' | 'ca'; readonly file: string; readonly line: number }
  readonly matchedWithoutPort?: boolean
  readonly offending?: { readonly file: string; readonly line: number }
  /** What ssh with accept-new added to the file; `second` of the newer one, which mends an unfinished line. */
  readonly appended?: string
  readonly appended_second?: string
  readonly fileCondition?: string
}

const here = join(import.meta.dirname, 'vectors')
const { vectors } = JSON.parse(readFileSync(join(here, 'vectors.json'), 'utf8')) as {
  vectors: readonly Vector[]
}

const lookup = (vector: Vector, files = vector.files.map(pathOf)): Lookup =>
  lookupOf({ files, host: vector.host, port: vector.port, alias: vector.hostKeyAlias })

const pathOf = (file: string | null): string => join(here, file ?? 'files/missing')

const blob = (base64: string | undefined): Buffer => Buffer.from(base64 ?? '', 'base64')

/** The key that server and client agree on, given the order in which we ask for them. */
const keyAgreedOn = async (vector: Vector): Promise<Vector['server'][number]> => {
  const [only, second] = vector.server
  if (!second) return only!
  const order = hostKeyOrder(await readKnownHosts(lookup(vector)))
  const algorithm = order.find((name) => vector.server.some(({ type }) => type === name))
  expect(algorithm).toBe(vector.negotiatedAlgorithm)
  return vector.server.find(({ type }) => type === algorithm)!
}

const judged = async (vector: Vector, shown: Buffer): Promise<{ outcome: Outcome; verdict?: Verdict }> => {
  try {
    const verdict = judge(await readKnownHosts(lookup(vector)), shown)
    return { outcome: verdict.kind === 'known' ? 'ok' : verdict.kind, verdict }
  } catch (failure) {
    expect(failure).toMatchObject({ code: 'HOST_KEY_UNREADABLE', stage: 'host key' })
    return { outcome: 'error' }
  }
}

const isLearning = (vector: Vector): boolean => vector.appended !== undefined

test('there are 115 vectors', () => {
  expect(vectors.length).toBe(115)
})

describe('known_hosts vectors: the verdict', () => {
  test.each(vectors.filter((vector) => !isLearning(vector)))('$id: $dproxy', async (vector) => {
    const { key, certificate } = await keyAgreedOn(vector)
    const { outcome, verdict } = await judged(vector, blob(certificate ?? key))
    expect(outcome).toBe(vector.dproxy)
    if (verdict?.kind === 'known' && vector.matched) {
      const { kind, file, line } = vector.matched
      const [found] = verdict.lines
      expect({ file: basename(found.file), line: found.line }).toEqual({ file, line })
      expect(verdict.proof).toBe(kind === 'ca' ? 'certificate' : 'key')
      expect(verdict.withoutPort).toBe(vector.matchedWithoutPort)
    }
    if (vector.offending) expect(placesOf(verdict)).toContainEqual(vector.offending)
  })

  test.each(vectors.filter((vector) => vector.dproxyRawKeyOnly !== undefined))(
    '$id without its certificate: $dproxyRawKeyOnly',
    async (vector) => {
      const { outcome } = await judged(vector, blob(vector.server[0]?.key))
      expect(outcome).toBe(vector.dproxyRawKeyOnly)
    },
  )
})

const placesOf = (verdict: Verdict | undefined) =>
  verdict && 'lines' in verdict ? verdict.lines.map(({ file, line }) => ({ file: basename(file), line })) : []

describe('known_hosts vectors: what an approved key adds to the file', () => {
  const learning = vectors.filter(isLearning)

  test.each(learning.filter(({ fileCondition }) => fileCondition === undefined))(
    '$id: $dproxy',
    async (vector) => {
      await using dir = await TempDir.create()
      const [before, file] = [await readFile(pathOf(vector.files[0] ?? null)), join(dir.path, 'known_hosts')]
      await writeFile(file, before)
      const shown = blob(vector.server[0]?.key)
      const added = async () => (await readFile(file)).subarray(before.length).toString()
      const attempt = learnHostKey(lookup(vector, [file]), shown)
      if (vector.dproxy === 'ok') {
        const place = await attempt
        expect(await added()).toBe(vector.appended_second ?? vector.appended)
        expect(place).toEqual({ file, line: (await readFile(file, 'utf8')).split('\n').length - 1 })
        expect(judge(await readKnownHosts(lookup(vector, [file])), shown).kind).toBe('known')
      } else {
        await expect(attempt).rejects.toMatchObject({ code: CODES[vector.dproxy] })
        expect(await added()).toBe('')
      }
      expect((await readFile(file)).subarray(0, before.length).equals(before)).toBe(true)
    },
  )

  test('learn-directory-missing: error', async () => {
    await using dir = await TempDir.create()
    const { vector, shown } = named('learn-directory-missing')
    const file = join(dir.path, 'missing', 'known_hosts')
    const attempt = learnHostKey(lookup(vector, [file]), shown)
    await expect(attempt).rejects.toMatchObject({ code: 'HOST_KEY_NOT_STORED', stage: 'host key' })
    expect(existsSync(join(dir.path, 'missing'))).toBe(false)
  })

  // Root may write whatever its mode is; only a read-only file system stops it.
  const possible = namespaces() || ownUid() !== 0
  const title = 'learn-unwritable: error'
  test.runIf(possible)(possible ? title : skippedTitle(title, 'needs a read-only mount'), async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create())
    const { vector, shown } = named('learn-unwritable')
    const file = join(dir.path, 'known_hosts')
    await writeFile(file, await readFile(pathOf(vector.files[0] ?? null)), { mode: 0o444 })
    const learner = scope.use(await Learner.create())
    const attempt = learner.learn(lookup(vector, [file]), [shown], { readOnlyDir: dir.path })
    await expect(attempt).resolves.toEqual([{ code: 'HOST_KEY_NOT_STORED' }])
    expect(await readFile(file, 'utf8')).toBe('')
  })

  const named = (id: string) => {
    const vector = learning.find((one) => one.id === id)!
    return { vector, shown: blob(vector.server[0]?.key) }
  }
})

const CODES: Partial<Record<Outcome, DproxyError['code']>> = {
  changed: 'HOST_KEY_CHANGED',
  revoked: 'HOST_KEY_REVOKED',
  'unknown-ca': 'HOST_KEY_UNPROVEN',
}
