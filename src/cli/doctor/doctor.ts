import pLimit from 'p-limit'
import { exitCodeOf, isErrorCode, type ExitCode } from '../../base/errors.js'
import type { Host } from '../../registry/host.js'
import { askOnTerminal } from '../ask-on-terminal.js'
import { strings, type Action, type Words } from '../command.js'
import { hostReport, stageText, verdictText, type HostReport, type StageReport } from './report.js'
import { registryOf } from '../hosts.js'
import type { Io } from '../io.js'
import { loadDoctor } from '../lazy.js'
import { paintFor } from '../paint.js'
import { chooseHosts } from '../up/hosts.js'

export const doctor: Action = {
  usage: 'doctor [names..]',
  summary: 'Try every stage of bringing hosts up, and say what is wrong',
  positionals: { names: 'Names, @tags or ssh://user@host:port; none: every host' },
  options: { all: { type: 'boolean', describe: 'Every host of the config, as without names' } },
  examples: [
    ['dproxy doctor prod', 'each stage with its time, and how to mend what fails'],
    ['dproxy doctor --json | jq ".hosts[] | select(.ok | not)"', 'what is wrong anywhere, for programs'],
  ],
  run: async (words, io) => {
    const hosts = await chooseHosts(
      { ...words, all: words.all === true || strings(words.names).length === 0 },
      io,
    )
    const examineOne = await examiner(hosts, words, io)
    const inTurn = !words.json && hosts.length <= MOST_IN_TURN
    const reports = inTurn
      ? await oneByOne(hosts, examineOne, words, io)
      : await all(hosts, examineOne, words, io)
    if (words.json) io.out.write(`${JSON.stringify({ schemaVersion: 1, hosts: reports })}\n`)
    return exitCode(reports)
  },
}

/** The same, as a verb of the group `host`. */
export const hostTest: Action = {
  ...doctor,
  usage: 'test [names..]',
  examples: [
    ['dproxy host test prod', 'the same as dproxy doctor prod'],
    ['dproxy host test @eu --quiet', 'only what is wrong with the hosts tagged eu'],
  ],
}

// Whoever examines a few hosts sees each stage as it comes; more would take too long one after the other.
const MOST_IN_TURN = 3
const AT_A_TIME = 4

type ExamineOne = (host: Host, hear: (report: StageReport) => void) => Promise<HostReport>

const examiner = async (hosts: readonly Host[], words: Words, io: Io): Promise<ExamineOne> => {
  const { examine } = await loadDoctor()
  // A host that is in no file is examined without any.
  const isInFile = hosts.some(({ name, typed }) => name === typed)
  const configFiles = isInFile ? (await registryOf(words, io)).files : []
  const oneQuestion = pLimit(1)
  return async (host, hear) => {
    const ask = askOnTerminal(io, host.name)
    const stages: StageReport[] = []
    const options = {
      env: io.env,
      agentSocket: io.env.SSH_AUTH_SOCK || null,
      ask: ask && ((...asked: Parameters<typeof ask>) => oneQuestion(() => ask(...asked))),
      signal: io.interrupted,
      configFiles,
      version: io.version,
    }
    await examine(host, options, (report) => {
      stages.push(report)
      hear(report)
    })
    return hostReport(host.name, stages)
  }
}

/** Shows each stage as it is done. */
const oneByOne = async (
  hosts: readonly Host[],
  examineOne: ExamineOne,
  words: Words,
  io: Io,
): Promise<HostReport[]> => {
  const paint = paintFor(io.out)
  const reports: HostReport[] = []
  for (const host of hosts) {
    io.out.write(`${paint.bold(host.name)}\n`)
    const report = await examineOne(host, (stage) => io.out.write(stageText(stage, words, paint)))
    io.out.write(verdictText(report, paint))
    reports.push(report)
  }
  return reports
}

/** Shows each host when it is done, in their order; nothing when the caller prints one document. */
const all = async (
  hosts: readonly Host[],
  examineOne: ExamineOne,
  words: Words,
  io: Io,
): Promise<HostReport[]> => {
  const paint = paintFor(io.out)
  const some = pLimit(AT_A_TIME)
  const under = hosts.map((host) => some(() => examineOne(host, () => undefined)))
  const reports: HostReport[] = []
  // The first to reject ends the command; the others, which reject for the same reason, are not waited for.
  for (const pending of under) pending.catch(() => undefined)
  for (const pending of under) {
    const report = await pending
    reports.push(report)
    if (words.json) continue
    const stages = report.stages.map((stage) => stageText(stage, words, paint))
    io.out.write([`${paint.bold(report.host)}\n`, ...stages, verdictText(report, paint)].join(''))
  }
  return reports
}

/** 0 when no stage failed; 3 when some hosts failed and others did not; else what the failures have in common. */
const exitCode = (reports: readonly HostReport[]): ExitCode => {
  const codes = reports.flatMap(({ stages }) => {
    const code = stages.find(({ state }) => state === 'failed')?.error?.code
    return code === undefined ? [] : [isErrorCode(code) ? exitCodeOf(code) : 1]
  })
  const [first] = codes
  if (first === undefined) return 0
  if (codes.length < reports.length) return 3
  return codes.every((code) => code === first) ? first : 1
}
