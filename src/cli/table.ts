import type { Command } from './command.js'
import { demo } from './demo.js'
import { down } from './down.js'
import { env } from './env.js'
import { logs } from './logs.js'
import { restart } from './restart.js'
import { schema } from './schema.js'
import { status } from './status.js'
import { supervise } from './supervise.js'
import { up } from './up.js'
import { version } from './version.js'

/** Every command there is, in the order of the help. */
export const COMMANDS: readonly Command[] = [
  up,
  down,
  restart,
  status,
  env,
  logs,
  demo,
  version,
  supervise,
  schema,
]

/** The verb of a command: the first word of its usage. */
export const verbOf = ({ usage }: Command): string => usage.split(' ')[0] ?? usage

/** Every word that names a command a person may type. */
export const VERBS: readonly string[] = COMMANDS.filter(({ summary }) => summary !== undefined).flatMap(
  (command) => [verbOf(command), ...(command.aliases ?? [])],
)
