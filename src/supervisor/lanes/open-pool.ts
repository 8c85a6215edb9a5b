import type { HostDefinition } from '../../control/messages.js'
import { openEngineLane } from '../../ssh/engine/open-engine-lane.js'
import type { LaneOptions } from '../../ssh/lane-options.js'
import type { Ask } from '../../ssh/person.js'
import { DEFAULT_LANES, LanePool } from './lane-pool.js'

export interface PoolOptions {
  /** Asks a person; null when nobody is there to answer. */
  readonly ask: Ask | null
  /** What opening a connection needs that may ask like this. */
  readonly optionsFor: (ask: Ask | null) => LaneOptions
  /** Hears, in a sentence, that a further connection has come, gone, or could not be opened. */
  readonly onChange: (sentence: string) => void
}

/**
 * Opens a connection to a host, for streams to its engine, and more of them when it has no room for all. These ask
 * nobody, and are only for logins that have asked nobody.
 * @throws DproxyError of the stage that failed
 */
export const openPool = async (
  definition: HostDefinition,
  { ask, optionsFor, onChange }: PoolOptions,
): Promise<LanePool> => {
  let hasAsked = false
  const asking: Ask = (question, signal) => {
    hasAsked = true
    return ask!(question, signal)
  }
  const first = await openEngineLane(definition, optionsFor(ask && asking))
  const openFurther = (signal: AbortSignal) => {
    const options = { ...optionsFor(null), onStage: ignore, onResolved: ignore, signal }
    return openEngineLane(definition, options, first)
  }
  return new LanePool({
    first,
    openFurther: hasAsked ? null : openFurther,
    most: definition.lanes ?? DEFAULT_LANES,
    onChange,
  })
}

const ignore = (): void => undefined
