import type { Server } from 'node:http'
import type { Duplex } from 'node:stream'

/**
 * As much of the Engine API as `docker exec` asks for: a container `box` in which a command runs for ever, whose
 * output is an upgraded connection. Once that is over, docker asks what became of the command.
 */
export const answerExec = (server: Server): { readonly asked: string[] } => {
  const asked: string[] = []
  server.on('request', (request, response) => {
    const path = (request.url ?? '').replace(/^\/v[\d.]+/u, '')
    asked.push(path)
    response.setHeader('Api-Version', '1.43').setHeader('Content-Type', 'application/json')
    request.resume().once('end', () => {
      if (path === '/_ping') response.end(request.method === 'HEAD' ? undefined : 'OK')
      else if (path === '/version') response.end('{"Version":"28.2.2","ApiVersion":"1.50"}')
      else if (path === '/containers/box/json')
        response.end('{"Id":"box","State":{"Running":true},"Config":{}}')
      else if (path === '/containers/box/exec') response.writeHead(201).end('{"Id":"it"}')
      // What runs has no exit code yet, which docker takes for 0.
      else if (path === '/exec/it/json') response.end('{"ID":"it","Running":true,"ExitCode":null}')
      else response.writeHead(404).end('{"message":"no such thing"}')
    })
  })
  server.on('upgrade', (_, socket: Duplex) => {
    socket.on('error', () => undefined)
    socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n')
  })
  return { asked }
}
