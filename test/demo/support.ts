import { join } from 'node:path'
import { json, text } from 'node:stream/consumers'
import type { Scope } from '../../src/base/scope.js'
import { startEngine } from '../../src/demo/engine.js'
import { ask, send, type RequestOptions } from '../../src/demo/request.js'
import { TempDir } from '../testbed/temp-dir.js'

/** An engine that goes with `scope`, and ways to ask it. */
export const engineIn = async (scope: Scope, name = 'prod', seed = name) => {
  const dir = scope.use(await TempDir.create())
  const engine = scope.use(await startEngine({ name, seed, socketPath: join(dir.path, 'engine.sock') }))
  const signal = scope.add(new AbortController(), (controller) => controller.abort()).signal
  const socket = engine.socketPath
  return {
    engine,
    socket,
    signal,
    open: (path: string, options: Partial<RequestOptions> = {}) => ask(socket, path, { signal, ...options }),
    get: async <T>(path: string) => (await json(await ask(socket, path, { signal }))) as T,
    status: async (method: string, path: string) => {
      const response = await send(socket, path, { method, signal })
      return { status: response.statusCode, body: await text(response), headers: response.headers }
    },
  }
}

export interface Listed {
  Id: string
  Names: string[]
  State: string
}
