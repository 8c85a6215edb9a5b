import type { HostDefinition } from '../../control/messages.js'
import { resolveTarget } from '../../ssh/config/resolve.js'
import { openEngineLane } from '../../ssh/engine/open-engine-lane.js'
import type { Ask } from '../../ssh/person.js'
import { optionsFromHere, type FromHere } from '../from-here.js'
import { lookAtConfig } from './config.js'
import { Connecting } from './connecting.js'
import { ENGINE_STAGES, lookAtEngine } from './engine.js'
import { Examination } from './examination.js'
import { lookAtAgent, lookAtKeyFiles } from './keys.js'
import { lookAround } from './local.js'
import type { StageReport } from './report.js'
import type { ExaminedLane } from './stream.js'

export interface DoctorOptions extends FromHere {
  /** The config files that the registry was read from. */
  readonly configFiles: readonly string[]
  /** This program's own version. */
  readonly version: string
}

/**
 * Tries everything that `up` would do for a host, in the same way and in the same order, and looks at what it
 * depends on; keeps nothing of it. Each stage of DOCTOR_STAGES is handed over once, in their order.
 * @throws the signal's reason only
 */
export const examine = async (
  definition: HostDefinition,
  options: DoctorOptions,
  hear: (report: StageReport) => void,
): Promise<void> => {
  const { env, agentSocket, signal } = options
  const exam = new Examination(hear, signal)
  await exam.check('config', (notes) => lookAtConfig(definition, options.configFiles, env, notes))
  signal.throwIfAborted()
  const keys = await whereKeysAre(definition, options)
  await exam.check('key files', (notes) => lookAtKeyFiles(keys, notes))
  await exam.check('agent', (notes) => lookAtAgent(keys, agentSocket, notes, signal))
  await lookThere(definition, options, exam)
  await lookAround(definition, options, exam)
  signal.throwIfAborted()
}

/** What the login draws on; where ssh's configuration cannot be read, what the definition itself says of it. */
const whereKeysAre = async (definition: HostDefinition, { env, signal }: DoctorOptions) => {
  const { identityFiles, identitiesOnly, destination: alias } = definition
  const own = { identityFiles, identitiesOnly, identitiesNamed: identityFiles.length > 0, alias }
  return resolveTarget(definition, env, signal).catch(() => ({ ...own, agent: 'environment' as const }))
}

const lookThere = async (
  definition: HostDefinition,
  options: DoctorOptions,
  exam: Examination,
): Promise<void> => {
  const { ask, signal } = options
  const lane = await connected(definition, { ...options, ask: ask && withoutHostKeys(ask) }, exam)
  if (!lane) return exam.skip(ENGINE_STAGES)
  try {
    await lookAtEngine(lane, exam, signal)
  } finally {
    lane.close()
  }
}

const connected = async (
  definition: HostDefinition,
  options: DoctorOptions,
  exam: Examination,
): Promise<ExaminedLane | undefined> => {
  options.signal.throwIfAborted()
  const connecting = new Connecting(exam, definition.transport)
  const { onStage, onResolved, onFact } = connecting
  try {
    const lane = await openEngineLane(definition, {
      ...optionsFromHere(definition, options),
      onStage,
      onResolved,
      onFact,
    })
    connecting.pass(lane.transport.why)
    return lane
  } catch (failure) {
    options.signal.throwIfAborted()
    connecting.fail(failure)
    return undefined
  }
}

/** Whoever looks for what is wrong has not come to trust a server: that is `dproxy trust`. */
const withoutHostKeys =
  (ask: Ask): Ask =>
  async (question, signal) =>
    question.kind === 'host key' ? null : ask(question, signal)
