import { describe, expect, test } from 'vitest'
import type { StageReport } from '../../src/cli/doctor/report.js'
import { hostReport, stageText, verdictText } from '../../src/cli/doctor/report.js'
import { paintFor } from '../../src/cli/paint.js'
import { freePort } from '../testbed/free-port.js'
import { Desk } from './support.js'

const plain = paintFor({ colors: false })

const report = (more: Partial<StageReport> = {}): StageReport => ({
  stage: 'login',
  state: 'ok',
  ms: 12,
  facts: ['the server takes publickey'],
  error: null,
  ...more,
})

const error = { code: 'LOGIN_REFUSED', message: 'it refused', hint: 'do this\nthen that' }

describe('a stage', () => {
  test('is told with its glyph and its word, its time and its facts', () => {
    expect(stageText(report(), { quiet: false }, plain)).toBe(
      '  ✓ ok           login          12 ms\n      the server takes publickey\n',
    )
  })

  test('that failed ends with what to do', () => {
    expect(stageText(report({ state: 'failed', error }), { quiet: false }, plain)).toBe(
      [
        '  ✗ failed       login          12 ms',
        '      the server takes publickey',
        '      it refused',
        '      next: do this',
        '      then that',
        '',
      ].join('\n'),
    )
  })

  test('that was not reached has no time', () => {
    const text = stageText(report({ state: 'not reached', ms: null, facts: [] }), { quiet: false }, plain)
    expect(text).toBe('  – not reached  login\n')
  })

  test('that warns says so by glyph and word', () => {
    expect(stageText(report({ state: 'warning', error }), { quiet: false }, plain)).toMatch(/^ {2}! warning/u)
  })

  test('is left out of quiet output when nothing is wrong with it', () => {
    expect(stageText(report(), { quiet: true }, plain)).toBe('')
    expect(stageText(report({ state: 'failed', error }), { quiet: true }, plain)).not.toContain(
      'takes publickey',
    )
  })

  test('shows nothing that a terminal would obey', () => {
    const nasty = { ...error, message: 'a\u001b[31m', hint: 'b\u001b[31m' }
    const text = stageText(
      report({ state: 'failed', facts: ['c\u001b[31m'], error: nasty }),
      { quiet: false },
      plain,
    )
    // eslint-disable-next-line no-control-regex
    expect(text).not.toMatch(/\u001b/u)
    expect(text.match(/\\x1b\[31m/gu)).toHaveLength(3)
  })
})

test('the verdict names what failed and counts what warns', () => {
  const stages = [report({ state: 'failed', error }), report({ stage: 'clock', state: 'warning', error })]
  expect(verdictText(hostReport('prod', stages), plain)).toBe('prod: ✗ failed: login; 1 warning\n')
  expect(verdictText(hostReport('prod', [report()]), plain)).toBe('prod: ✓ ok\n')
  expect(hostReport('prod', [report({ state: 'warning', error })]).ok).toBe(true)
})

describe('dproxy doctor', () => {
  test('without names examines every host, the few one after the other', async () => {
    const port = await freePort()
    const entry = (name: string) => `${name}: {ssh: "ssh://me@127.0.0.1:${port}", socket: ${name}.sock}`
    await using desk = await Desk.create(hosts(entry('prod'), entry('lab')))
    const { code, out, err } = await desk.runs('doctor')
    expect({ code, err }).toEqual({ code: 1, err: '' })
    expect(out.match(/^\w+: .*$/gmu)).toEqual(['prod: ✗ failed: connect', 'lab: ✗ failed: connect'])
    expect(out).toContain(`connection refused by 127.0.0.1:${port}`)
  })

  test('examines every host with --all, too, which takes no names beside it', async () => {
    const port = await freePort()
    const entry = (name: string) => `${name}: {ssh: "ssh://me@127.0.0.1:${port}", socket: ${name}.sock}`
    await using desk = await Desk.create(hosts(entry('prod'), entry('lab')))
    const { code, out, err } = await desk.runs('doctor', '--all')
    expect({ code, err }).toEqual({ code: 1, err: '' })
    expect(out.match(/^\w+(?=: ✗)/gmu)).toEqual(['prod', 'lab'])
    expect(await desk.runs('doctor', '--all', 'prod')).toMatchObject({
      code: 2,
      err: expect.stringContaining('it takes no names beside it') as string,
    })
  })

  test('of many prints each whole, in the order of the config', async () => {
    const port = await freePort()
    const names = ['a', 'b', 'c', 'd', 'e', 'f']
    const entries = names.map((name) => `${name}: {ssh: "ssh://me@127.0.0.1:${port}", socket: ${name}.sock}`)
    await using desk = await Desk.create(hosts(...entries))
    const { code, out } = await desk.runs('doctor')
    expect(code).toBe(1)
    expect(out.match(/^\w+$/gmu)).toEqual(names)
    expect(out.match(/^\w+(?=: ✗)/gmu)).toEqual(names)
  })

  test('of a host that is in no file says so, with --json as one document', async () => {
    const port = await freePort()
    await using desk = await Desk.create()
    const { code, out } = await desk.runs('doctor', '--json', `ssh://me@127.0.0.1:${port}`)
    expect(code).toBe(1)
    expect(out.trim().split('\n')).toHaveLength(1)
    const { schemaVersion, hosts: found } = JSON.parse(out) as {
      schemaVersion: number
      hosts: { host: string; ok: boolean; stages: StageReport[] }[]
    }
    expect(schemaVersion).toBe(1)
    expect(found).toMatchObject([{ host: `127.0.0.1-${port}`, ok: false }])
    expect(found[0]?.stages[0]).toMatchObject({
      stage: 'config',
      state: 'ok',
      facts: [`in no file: ssh://me@127.0.0.1:${port}`],
      error: null,
    })
  })

  test('refuses what it cannot know: 2', async () => {
    await using desk = await Desk.create(hosts('prod: {ssh: prod.invalid}'))
    expect(await desk.runs('doctor', 'prd')).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringContaining('did you mean "prod"?') as string,
    })
    await using nothing = await Desk.create()
    expect(await nothing.runs('doctor')).toMatchObject({ code: 2, out: '' })
  })

  test('is also host test', async () => {
    const port = await freePort()
    await using desk = await Desk.create(hosts(`prod: {ssh: "ssh://me@127.0.0.1:${port}", socket: a.sock}`))
    expect(await desk.runs('host', 'test', 'prod', '--quiet')).toMatchObject({
      code: 1,
      out: expect.stringMatching(
        /^prod\n {2}✗ failed {7}connect .*\n.*refused.*\n {6}next: .*\nprod: ✗ failed: connect\n$/u,
      ) as string,
    })
  })
})

const hosts = (...entries: string[]) => `hosts:\n${entries.map((each) => `  ${each}\n`).join('')}`
