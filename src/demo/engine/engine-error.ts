import type { IncomingMessage } from 'node:http'

/** A refusal, answered as Docker does: the status and `{"message": …}`. */
export class EngineError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** What becomes of a request that the demo engine has no answer to. */
export const unsupported = ({ method, url }: IncomingMessage): EngineError => {
  const path = url?.split('?')[0] ?? ''
  // `docker inspect NAME` asks for one kind of thing after the other and goes on only after a 404.
  if (method === 'GET' && !/^\/(?:containers|images)\//u.test(path))
    return new EngineError(404, 'page not found')
  return new EngineError(
    501,
    `the demo engine does not run containers; it has no answer to ${method} ${path}. ` +
      'For a real one: dproxy demo --engine local',
  )
}
