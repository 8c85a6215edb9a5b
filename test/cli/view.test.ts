import { expect, test } from 'vitest'
import { HOST_STATES, type Status } from '../../src/control/messages.js'
import { logLine } from '../../src/cli/logs.js'
import { failureText, paintFor, paintState } from '../../src/cli/paint.js'
import { statusTable } from '../../src/cli/status-view.js'
import { hostStatus } from '../control/support.js'

const plain = paintFor({ colors: false })
const atMs = Date.parse('2026-01-31T10:00:00Z')
const of = (...hosts: Status['hosts']): Status => ({ schemaVersion: 1, atMs, supervisor: null, hosts })
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/u
const HOSTILE = 'a\u001b]0;owned\u0007\u001b[31m\rb\u009bc\u202ed\ne'

test('every state is told in words, also without colours', () => {
  for (const state of HOST_STATES) {
    expect(paintState(state, plain)).toContain(state)
    expect(paintState(state, plain)).not.toMatch(CONTROL)
  }
})

test('columns line up, whatever is in them', () => {
  const text = statusTable(of(hostStatus('a'), hostStatus('production-frankfurt', { rttMs: null })), plain)
  const [head, ...rows] = text.trimEnd().split('\n')
  for (const row of rows) expect(row.indexOf('/tmp/')).toBe(head?.indexOf('SOCKET'))
  expect(rows[0]).toContain(' 1 h')
})

test('nothing that comes from a server or a file moves the cursor or starts a line of its own', () => {
  const error = { code: 'X', message: HOSTILE, hint: HOSTILE, stage: 'login' as const, at: '' }
  const host = hostStatus('prod', {
    state: 'failed',
    ssh: HOSTILE,
    socket: HOSTILE,
    engine: { version: HOSTILE, apiVersion: HOSTILE },
    remoteSocket: HOSTILE,
    remoteSocketFound: true,
    forwarding: { method: 'nc', why: HOSTILE },
    lastError: error,
  })
  const shown = statusTable(of(host), plain)
  expect(shown).not.toMatch(CONTROL)
  expect(shown.trimEnd().split('\n')).toHaveLength(5)
  const line = logLine({ time: 't', level: 'error', host: HOSTILE, message: HOSTILE }, plain)
  expect(line).not.toMatch(CONTROL)
  expect(line).not.toContain('\n')
  expect(failureText(error, plain, 'prod')).not.toMatch(CONTROL)
})

test('why a host is not up, or what its last client met, stands under the table with the next step', () => {
  const lastError = {
    code: 'X',
    message: 'connection refused',
    hint: 'is sshd running?',
    stage: 'connect' as const,
    at: '',
  }
  const away = hostStatus('lab', { state: 'retrying', nextTryMs: 4200, lastError })
  const gone = { ...lastError, message: 'no Docker daemon answers', hint: null, stage: 'engine' as const }
  const shown = statusTable(of(hostStatus('prod', { lastError: gone }), away, hostStatus('fine')), plain)
  expect(shown).toMatch(/^lab .* next in 5 s *$/mu)
  expect(shown).toContain('  lab: connect: connection refused\n    next: is sshd running?\n')
  expect(shown).toContain('  prod: engine: no Docker daemon answers\n')
  expect(shown).not.toMatch(/^ {2}fine:/mu)
})

test('what is not as it usually is stands under the table, one line each', () => {
  const usual = hostStatus('fine')
  const told = hostStatus('told', { remoteSocket: '/srv/docker.sock', remoteSocketFound: false })
  const odd = hostStatus('odd', {
    remoteSocket: '/run/user/1000/docker.sock',
    forwarding: { method: 'docker system dial-stdio', why: 'sshd forbids forwarding there' },
    turnedAway: 3,
  })
  const shown = statusTable(
    of(usual, odd, told, hostStatus('new', { remoteSocket: 'auto', remoteSocketFound: false })),
    plain,
  )
  const [, , , , , ...remarks] = shown.trimEnd().split('\n')
  expect(remarks).toEqual([
    '  odd: streams go through docker system dial-stdio there: sshd forbids forwarding there',
    "  odd: its engine's socket there is /run/user/1000/docker.sock",
    '  odd: 3 clients turned away for want of a file descriptor (see: ulimit -n)',
  ])
})
