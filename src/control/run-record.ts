import { readFile, rm } from 'node:fs/promises'
import { z } from 'zod'
import { controlSocketPath, runRecordPath, type Env } from '../base/paths.js'
import { refuseForeignSocket } from './foreign-socket.js'
import { HostDefinition } from './messages.js'

/** What a supervisor runs, kept in a file beside its control socket for when it ends without a word. No secrets. */
export const RunRecord = z.object({
  pid: z.int(),
  version: z.string(),
  hosts: z.array(z.object({ definition: HostDefinition, agent: z.string().nullable(), lazy: z.boolean() })),
  /** When it or the one whose place it took has crashed lately, milliseconds since 1970. */
  crashes: z.array(z.number()),
  /** The error that ended it; null as long as none has. */
  crash: z.string().nullable(),
  /** It has crashed too often: none is started in its place. */
  gaveUp: z.boolean(),
})
export type RunRecord = z.infer<typeof RunRecord>

/** What the last supervisor left behind, or the one that runs keeps; undefined when there is nothing of use. */
export const readRunRecord = async (env: Env): Promise<RunRecord | undefined> => {
  try {
    await refuseForeignSocket(controlSocketPath(env))
    return RunRecord.safeParse(JSON.parse(await readFile(runRecordPath(env), 'utf8'))).data
  } catch {
    return undefined
  }
}

/** Forgets what the last supervisor left behind. */
export const forgetRunRecord = (env: Env): Promise<void> => rm(runRecordPath(env), { force: true })
