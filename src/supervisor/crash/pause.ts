import type { Env } from '../../base/paths.js'
import { readRunRecord } from '../../control/run-record.js'
import { Crashes } from './crashes.js'

/** How long a supervisor waits that is started in place of one that has crashed, milliseconds. */
export const pauseAfterCrash = async (env: Env): Promise<number> =>
  new Crashes((await readRunRecord(env))?.crashes).pauseMs
