/** Every case of the reliability catalogue has a test by name: `vitest run -t T17` runs those of case T17. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('.', import.meta.url))

const numbered = (letter: string, last: number) =>
  Array.from({ length: last }, (_, at) => `${letter}${at + 1}`)

// Transport, sockets, control socket, lifecycle.
const CASES = [...numbered('T', 26), ...numbered('S', 12), ...numbered('C', 8), ...numbered('L', 11)]

/** The ids that titles of tests end with, in brackets. */
const named = (): Set<string> => {
  const files = readdirSync(ROOT, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.test.ts'),
  )
  const texts = files.map((name) => readFileSync(join(ROOT, name), 'utf8'))
  return new Set(
    texts
      .flatMap((text) => [...text.matchAll(/\[([TSCL]\d+)\](?=[^\n]*['"`]\s*[,)\]])/gu)])
      .map(([, id = '']) => id),
  )
}

test('every case of the catalogue has a test that bears its id', () => {
  const ids = named()
  expect(CASES.filter((id) => !ids.has(id))).toEqual([])
})
