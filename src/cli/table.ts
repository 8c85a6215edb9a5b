import { wordsFor, type Command } from './command.js'
import { demo } from './demo.js'
import { doctor } from './doctor/doctor.js'
import { down } from './down.js'
import { env } from './env.js'
import { host } from './host/host.js'
import { logs } from './logs.js'
import { restart } from './restart.js'
import { schema } from './schema.js'
import { secret } from './secret/secret.js'
import { status } from './status.js'
import { supervise } from './supervise.js'
import { trust } from './trust.js'
import { up } from './up/up.js'
import { version } from './version.js'

/** Every command there is, in the order of the help. */
export const COMMANDS: readonly Command[] = [
  up,
  down,
  restart,
  status,
  trust,
  doctor,
  env,
  logs,
  host,
  secret,
  demo,
  version,
  supervise,
  schema,
]

/** Every first word that names a command a person may type. */
export const VERBS: readonly string[] = wordsFor(COMMANDS)
