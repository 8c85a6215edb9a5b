import type { IncomingMessage, ServerResponse } from 'node:http'
import findMyWay, { type HTTPMethod } from 'find-my-way'
import { DproxyError } from '../../base/errors.js'
import { printable } from '../../base/text.js'
import { sendLatest, sendLines } from '../lines.js'
import { AnswerRequest, DownRequest, TakeOverRequest, UpRequest, type LogEntry } from '../messages.js'
import type { ControlService } from '../service.js'
import { answer, fail, plain } from './replies.js'
import { body, invalid } from './request-body.js'

/** In a query, a word may stand more than once. */
type Params = Record<string, string | string[] | undefined>
/** Answers with the value of a `Reply`, or with `undefined` once it has taken over the response. */
type Handler = (call: Call) => unknown

interface Call {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly params: Record<string, string | undefined>
  readonly query: Params
}

/** The requests that there are, and what of `service` answers them. */
export const routes = (service: ControlService) => {
  const router = findMyWay({
    defaultRoute: (request, response) => fail(response, 404, unknownRoute(request)),
    maxParamLength: 256,
  })
  const on = (method: HTTPMethod, path: string, handler: Handler) =>
    router.on(method, path, (request, response, params, _, query) => {
      void answer({ request, response }, () => handler({ request, response, params, query }))
    })
  on('GET', '/v1/status', ({ response }) => plain(response, service.status()))
  on('GET', '/v1/watch', ({ response }) =>
    sendLatest(
      response,
      () => service.status(),
      (changed) => service.onChange(changed),
    ),
  )
  on('GET', '/v1/logs', ({ response, query }) => sendLogs(response, service, query))
  on('GET', '/v1/hosts/:name/streams', ({ params }) => service.streams(params.name ?? ''))
  on('POST', '/v1/hosts/:name/up', async ({ request, params }) => {
    const asked = await body(request, UpRequest)
    if (asked.definition.name !== params.name)
      throw invalid('the host in the path is not the one in the body')
    return service.up(asked)
  })
  on('POST', '/v1/hosts/:name/down', async ({ request, params }) =>
    service.down(params.name ?? '', (await body(request, DownRequest)).drainMs),
  )
  on('POST', '/v1/hosts/:name/restart', async ({ request, params }) => {
    const { drainMs, person } = await body(request, DownRequest)
    return service.restart(params.name ?? '', drainMs, person)
  })
  on('POST', '/v1/questions/:id', async ({ request, params }) => {
    service.answer(params.id ?? '', (await body(request, AnswerRequest)).answers)
    return {}
  })
  on('DELETE', '/v1/streams/:id', ({ params }) => {
    service.cut(params.id ?? '')
    return {}
  })
  on('GET', '/v1/running', () => service.running())
  on('POST', '/v1/take-over', async ({ request }) =>
    service.takeOver((await body(request, TakeOverRequest)).drainMs),
  )
  on('POST', '/v1/shutdown', async ({ request }) => {
    const { drainMs } = await body(request, DownRequest)
    await service.shutdown(drainMs)
    return {}
  })
  return router
}

const sendLogs = (response: ServerResponse, service: ControlService, { host, follow }: Params): undefined => {
  if (Array.isArray(host)) throw invalid('it names more than one host')
  const wanted = (entry: LogEntry) => host === undefined || entry.host?.toLowerCase() === host.toLowerCase()
  const now = service.recentLogs().filter(wanted)
  return sendLines(
    response,
    now,
    follow === '1' ? (send) => service.onLog((entry) => void (wanted(entry) && send(entry))) : undefined,
  )
}

const unknownRoute = ({ method, url }: IncomingMessage): DproxyError =>
  new DproxyError('REQUEST_INVALID', `there is no ${method} ${printable(url ?? '')} here`, {
    hint: 'try GET /v1/status',
  })
