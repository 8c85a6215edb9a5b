import findMyWay, { type HTTPMethod } from 'find-my-way'
import type { IncomingMessage, ServerResponse } from 'node:http'
import * as actions from './actions.js'
import * as containers from './containers.js'
import { EngineError, unsupported } from './engine-error.js'
import { events } from './events.js'
import * as images from './images.js'
import { logs } from './logs.js'
import { sendJson, type Answer, type Ask } from './respond.js'
import { stats } from './stats.js'
import * as system from './system.js'
import type { World } from './world.js'

/** What the demo engine answers; the rest of Docker's API is refused by {@link refuse}. */
const ROUTES: readonly [HTTPMethod | HTTPMethod[], string, Answer][] = [
  [['GET', 'HEAD'], '/_ping', system.ping],
  ['GET', '/version', system.version],
  ['GET', '/info', system.info],
  ['GET', '/events', events],
  ['GET', '/networks', system.networks],
  ['GET', '/volumes', system.volumes],
  ['GET', '/system/df', system.diskUsage],
  ['GET', '/containers/json', containers.list],
  ['GET', '/containers/:id/json', containers.inspect],
  ['GET', '/containers/:id/top', containers.top],
  ['GET', '/containers/:id/logs', logs],
  ['GET', '/containers/:id/stats', stats],
  ['POST', '/containers/:id/start', actions.start],
  ['POST', '/containers/:id/stop', actions.stop],
  ['POST', '/containers/:id/restart', actions.restart],
  ['POST', '/containers/:id/kill', actions.kill],
  ['POST', '/containers/:id/pause', actions.pause],
  ['POST', '/containers/:id/unpause', actions.unpause],
  ['POST', '/containers/:id/rename', actions.rename],
  ['DELETE', '/containers/:id', actions.remove],
  ['GET', '/images/json', images.listImages],
  ['GET', '/images/get', images.saveImages],
  ['GET', '/images/*', images.oneImage],
  ['POST', '/images/load', images.loadImages],
]

/** Answers every request to the engine of `world`. */
export const requestListener = (world: World) => {
  const router = findMyWay({
    ignoreTrailingSlash: true,
    maxParamLength: 4096,
    defaultRoute: (request, response) => {
      void answer({ ...askOf(world, request, response), params: {} }, refuse)
    },
  })
  for (const [method, path, handler] of ROUTES) {
    router.on(method, path, (request, response, params) => {
      void answer({ ...askOf(world, request, response), params }, handler)
    })
  }
  return (request: IncomingMessage, response: ServerResponse): void => {
    const [, apiVersion, path] = /^(?:\/v(\d+\.\d+))?(\/.*)$/su.exec(request.url ?? '') ?? []
    response.setHeader('Api-Version', system.API_VERSION)
    response.setHeader('Docker-Experimental', 'false')
    response.setHeader('Ostype', 'linux')
    response.setHeader('Server', `Docker/${system.VERSION} (linux)`)
    request.url = path ?? '/'
    if (apiVersion && isNewer(apiVersion, system.API_VERSION)) {
      const reason = `client version ${apiVersion} is too new. Maximum supported API version is ${system.API_VERSION}`
      return void answer({ ...askOf(world, request, response), params: {} }, () => {
        throw new EngineError(400, reason)
      })
    }
    return void router.lookup(request, response)
  }
}

const isNewer = (a: string, b: string): boolean => Number(a.split('.')[1]) > Number(b.split('.')[1])

const askOf = (world: World, request: IncomingMessage, response: ServerResponse): Omit<Ask, 'params'> => {
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const query = new URLSearchParams(request.url?.split('?')[1] ?? '')
  return { world, query, request, response, signal: gone.signal }
}

const answer = async (ask: Ask, handler: Answer): Promise<void> => {
  try {
    await handler(ask)
  } catch (failure) {
    // Half an answer cannot be taken back: it is cut, so that it does not pass for a whole one.
    if (ask.response.headersSent) return void ask.response.destroy()
    const status = failure instanceof EngineError ? failure.status : 500
    sendJson(ask, { message: failure instanceof Error ? failure.message : String(failure) }, status)
  } finally {
    // A body that nobody wanted must still be read, or its sender never gets to the answer.
    ask.request.resume()
  }
}

const refuse: Answer = ({ request }) => {
  throw unsupported(request)
}
