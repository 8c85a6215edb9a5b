import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { lookAtHostKey } from '../../src/ssh/look-at-host-key.js'
import { openBySsh2 } from '../../src/ssh/open-lane.js'
import { ANY_TARGET, optionsOf } from './support.js'

test('a server that is none for SSH is told as such, with words that reach the same port', async () => {
  await using scope = new Scope()
  const web = scope.add(createServer(), (server) => server.close())
  web.on('connection', (socket) =>
    socket.on('error', () => undefined).end('HTTP/1.1 400 Bad Request\r\n\r\n'),
  )
  web.listen(0, '127.0.0.1')
  await once(web, 'listening')
  const { port } = web.address() as AddressInfo
  const looking = lookAtHostKey({ ...ANY_TARGET, user: 'deploy', port }, optionsOf(), openBySsh2)
  await expect(looking).rejects.toMatchObject({
    code: 'HANDSHAKE_FAILED',
    stage: 'host key',
    hint: expect.stringContaining(`ssh -v -p ${port} deploy@127.0.0.1`) as string,
  })
})

test('a proxy command that fails tells its own reason', async () => {
  const proxyCommand = ['sh', '-c', 'echo no way >&2; exit 3']
  await expect(lookAtHostKey({ ...ANY_TARGET, proxyCommand }, optionsOf(), openBySsh2)).rejects.toMatchObject(
    {
      code: 'PROXY_FAILED',
      stage: 'connect',
      message: expect.stringMatching(/exit code 3 .*: no way$/u) as string,
    },
  )
})
