import type { LaneOptions } from '../lane-options.js'
import { openLane } from '../open-lane.js'
import type { Target } from '../target.js'
import { EngineLane } from './engine-lane.js'

/**
 * Opens one SSH connection to a host, for streams to its Docker engine. `remoteSocket`: an absolute path there,
 * or `auto`; `like`: another connection to the same host, in which the way to the engine has been found.
 * @throws DproxyError of the stage that failed
 */
export const openEngineLane = async (
  target: Target & { readonly remoteSocket: string },
  options: LaneOptions,
  like?: EngineLane,
): Promise<EngineLane> => new EngineLane(await openLane(target, options), target.remoteSocket, like)
