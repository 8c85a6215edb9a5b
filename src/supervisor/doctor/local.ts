import { shellWord } from '../../base/text.js'
import { controlSocketPath, type Env } from '../../base/paths.js'
import { asDproxyError } from '../../base/errors.js'
import { couldListen } from '../../base/unix-socket.js'
import { ControlClient } from '../../control/client.js'
import type { HostDefinition, HostStatus } from '../../control/messages.js'
import type { Examination } from './examination.js'
import type { Notes } from './report.js'

/** What is on this side: the host's own socket, what Docker clients go by, and whether a supervisor serves it. */
export const lookAround = async (
  definition: HostDefinition,
  { env, version }: { readonly env: Env; readonly version: string },
  exam: Examination,
): Promise<void> => {
  const client = new ControlClient(controlSocketPath(env), { version })
  const asked = client.status().then(
    ({ hosts }) => ({
      running: true as const,
      host: hosts.find(({ name }) => isSame(name, definition.name)),
    }),
    (failure: unknown) => ({ running: false as const, failure: asDproxyError(failure) }),
  )
  await exam.check('local socket', async (notes) => {
    const found = await asked
    await lookAtSocket(definition, found.running ? found.host : undefined, notes)
  })
  await exam.check('docker', async (notes) => lookAtDocker(definition, env, notes))
  await exam.check('supervisor', async (notes) => {
    const found = await asked
    if (found.running) return tellState(definition, found.host, notes)
    const { code, message, hint } = found.failure
    if (code !== 'SUPERVISOR_DOWN') return notes.warn({ code, message, hint: hint ?? null })
    return notes.fact(`none runs; this starts one: dproxy up ${shellWord(definition.typed)}`)
  })
}

const isSame = (one: string, other: string): boolean => one.toLowerCase() === other.toLowerCase()

/** @throws DproxyError SOCKET_* as `up` would */
const lookAtSocket = async (
  { socket }: HostDefinition,
  served: HostStatus | undefined,
  notes: Notes,
): Promise<void> => {
  if (served?.socket === socket) return notes.fact(`${socket} is ours: the running dproxy serves it`)
  const found = await couldListen(socket)
  return notes.fact(
    found === 'free' ? `${socket} is free` : `${socket} is a dead one of ours; up replaces it`,
  )
}

const lookAtDocker = ({ socket, name, typed }: HostDefinition, env: Env, notes: Notes): void => {
  const own = `unix://${socket}`
  const { DOCKER_HOST: host, DOCKER_CONTEXT: context } = env
  // A host that is in no file has a socket to name only while it runs.
  const first = typed === name ? '' : `dproxy up ${shellWord(typed)} && `
  const hint = `${first}eval "$(dproxy env ${name})"`
  // Docker's command line lets DOCKER_HOST win over DOCKER_CONTEXT, and both over the context of its config.
  if (host === own) return notes.fact('DOCKER_HOST points here')
  if (host)
    return notes.warn({ code: 'DOCKER_ELSEWHERE', message: `DOCKER_HOST is ${host}, not ${own}`, hint })
  if (!context) return notes.fact(`DOCKER_HOST and DOCKER_CONTEXT are not set; to point them here: ${hint}`)
  const message = `DOCKER_CONTEXT is ${context}: Docker clients here go by that context`
  return notes.warn({ code: 'DOCKER_ELSEWHERE', message, hint: `unset DOCKER_CONTEXT; ${hint}` })
}

const tellState = ({ typed }: HostDefinition, host: HostStatus | undefined, notes: Notes): void => {
  if (!host) return notes.fact(`it runs, but not this host; this starts it: dproxy up ${shellWord(typed)}`)
  notes.fact(`runs this host: ${host.state}`)
  if (host.state === 'up' || !host.lastError) return undefined
  const { code, message, hint } = host.lastError
  return notes.warn({
    code,
    message: `it is ${host.state}: ${message}`,
    hint: hint ?? `dproxy up ${shellWord(typed)}`,
  })
}
