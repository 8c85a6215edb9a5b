import { EngineError } from './engine-error.js'
import { isSet, sendNothing, type Ask } from './respond.js'
import { emit, findContainer, type Container, type World } from './world.js'

/** `POST /containers/{id}/start` */
export const start = (ask: Ask): void => {
  const container = findContainer(ask.world, ask.params.id)
  if (container.state !== 'exited') return sendNothing(ask, 304)
  begin(ask.world, container)
  return sendNothing(ask)
}

/** `POST /containers/{id}/stop` */
export const stop = (ask: Ask): void => {
  const container = findContainer(ask.world, ask.params.id)
  if (container.state === 'exited') return sendNothing(ask, 304)
  end(ask.world, container, '15', 0)
  emit(ask.world, container, 'stop')
  return sendNothing(ask)
}

/** `POST /containers/{id}/restart` */
export const restart = (ask: Ask): void => {
  const container = findContainer(ask.world, ask.params.id)
  if (container.state !== 'exited') end(ask.world, container, '15', 0)
  begin(ask.world, container)
  emit(ask.world, container, 'restart')
  sendNothing(ask)
}

/** `POST /containers/{id}/kill`: every signal ends a container here. */
export const kill = (ask: Ask): void => {
  const container = findContainer(ask.world, ask.params.id)
  if (container.state === 'exited') {
    throw new EngineError(
      409,
      `cannot kill container: ${container.name}: container ${container.id} is not running`,
    )
  }
  end(ask.world, container, '9', 137)
  sendNothing(ask)
}

/** `POST /containers/{id}/pause` */
export const pause = (ask: Ask): void => change(ask, 'running', 'paused', 'pause')

/** `POST /containers/{id}/unpause` */
export const unpause = (ask: Ask): void => change(ask, 'paused', 'running', 'unpause')

/** `POST /containers/{id}/rename` */
export const rename = (ask: Ask): void => {
  const container = findContainer(ask.world, ask.params.id)
  const name = ask.query.get('name') ?? ''
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/u.test(name))
    throw new EngineError(400, `Invalid container name (${name})`)
  if ([...ask.world.containers.values()].some((other) => other.name === name)) {
    throw new EngineError(409, `Conflict. The container name "/${name}" is already in use`)
  }
  const oldName = container.name
  container.name = name
  emit(ask.world, container, 'rename', { oldName: `/${oldName}` })
  sendNothing(ask)
}

/** `DELETE /containers/{id}` */
export const remove = (ask: Ask): void => {
  const container = findContainer(ask.world, ask.params.id)
  if (container.state !== 'exited') {
    if (!isSet(ask.query, 'force')) {
      throw new EngineError(
        409,
        `cannot remove container "${container.name}": container is running: stop it first`,
      )
    }
    end(ask.world, container, '9', 137)
  }
  ask.world.containers.delete(container.id)
  emit(ask.world, container, 'destroy')
  sendNothing(ask)
}

const begin = (world: World, container: Container): void => {
  container.state = 'running'
  container.startedMs = Date.now()
  container.exitCode = 0
  emit(world, container, 'start')
}

const end = (world: World, container: Container, signal: string, exitCode: number): void => {
  container.state = 'exited'
  container.endedMs = Date.now()
  container.exitCode = exitCode
  emit(world, container, 'kill', { signal })
  emit(world, container, 'die', { exitCode: String(exitCode) })
}

const change = (ask: Ask, from: Container['state'], to: Container['state'], action: string): void => {
  const container = findContainer(ask.world, ask.params.id)
  if (container.state !== from) throw new EngineError(409, `container ${container.name} is not ${from}`)
  container.state = to
  emit(ask.world, container, action)
  sendNothing(ask)
}
