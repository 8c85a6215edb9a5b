import { expect, test } from 'vitest'
import { IMAGE } from '../testbed/image.js'
import { RegistryServer } from '../testbed/registry-server.js'
import { describeHosts } from './both.js'

describeHosts(
  'docker and a registry through dproxy',
  (both) => {
    test('docker push and docker pull bring an image there and back', async () => {
      await using registry = await RegistryServer.start()
      await both(async (host) => {
        await using image = host.image(`${registry.address}/`)
        await host.docker(['tag', IMAGE, image.name])
        const id = await host.docker(['inspect', '--format', '{{.Id}}', image.name])
        expect(await host.docker(['push', image.name])).toContain('digest: sha256:')
        await host.docker(['rmi', image.name])
        expect(await host.docker(['pull', image.name])).toContain('Status: Downloaded newer image')
        expect(await host.docker(['inspect', '--format', '{{.Id}}', image.name])).toBe(id)
      })
    })
  },
  { parts: ['docker-registry'], ours: true },
)
