import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { configJsonSchema } from '../../src/registry/json-schema.js'

interface Described {
  readonly description?: string
  readonly properties?: Readonly<Record<string, Described>>
  readonly additionalProperties?: Described | false
}

test('config.schema.json is what the schema says; `npm run schema` writes it anew', async () => {
  const written = await readFile(new URL('../../config.schema.json', import.meta.url), 'utf8')
  expect(written).toBe(`${JSON.stringify(configJsonSchema(), null, 2)}\n`)
})

test('every key teaches: it has a description, and what stands beside it is refused', () => {
  const check = (schema: Described): string[] =>
    Object.entries(schema.properties ?? {}).flatMap(([key, inner]) => [
      ...(inner.description === undefined ? [key] : []),
      ...check(inner),
      ...(inner.additionalProperties ? check(inner.additionalProperties) : []),
    ])
  const schema = configJsonSchema() as Described
  expect(check(schema)).toEqual([])
  expect(schema.additionalProperties).toBe(false)
  const hosts = schema.properties?.hosts?.additionalProperties
  expect(hosts && hosts.additionalProperties).toBe(false)
  expect(Object.keys((hosts || {}).properties ?? {})).toEqual(
    expect.arrayContaining(['ssh', 'tags', 'proxyJump', 'keepAlive', 'socket', 'lanes', 'transport']),
  )
})
