import { join } from 'node:path'
import { expect, test } from 'vitest'
import { addHosts } from '../../../src/registry/edit/edit.js'
import { singleFileHost } from '../../../src/registry/import/single-host.js'
import { Desk, failureOf } from '../support.js'

test.each([
  ['ssh_host: box\n'],
  ['ssh_host: box:2222\nssh_user: me\n'],
  ['ssh_host: 10.0.0.1\nssh_user: deploy\n'],
  ['ssh_host: "::1"\nssh_user: me\n'],
  ['ssh_host: "[fe80::1%eth0]:22"\n'],
  ['ssh_host: box\nssh_user: "corp\\\\me"\n'],
  ['ssh_host: box\nssh_user: 1000\nssh_key_path: ~/.ssh/id\n'],
  ['ssh_host: box\nssh_key_path: keys/id\nlocal_socket: box.sock\n'],
  ['ssh_host: box\nlocal_socket: "{runtime}/{name}.sock"\nremote_socket: /run/docker.sock\ntimeout: 5\n'],
  ['ssh_host: box\nremote_socket: auto\ntimeout: 1.5m\n'],
  ['ssh_host: box\ntimeout: "2.5"\n'],
])('in a file of hosts %j means what it meant by itself', async (text) => {
  await using desk = await Desk.create()
  const single = await desk.write(join(desk.project, 'single/file.yaml'), text)
  const host = await singleFileHost(single, 'default', desk.env)
  await addHosts(join(desk.home, 'hosts.yaml'), [host], { env: desk.env, others: [], schema: '' })
  const before = (await desk.load(single)).hosts
  expect(before).toHaveLength(1)
  expect((await desk.load(join(desk.home, 'hosts.yaml'))).hosts).toEqual(before)
})

test('a file that is no single-host file, or a faulty one, is refused with what is wrong', async () => {
  await using desk = await Desk.create()
  const failing = async (text: string) => {
    const file = await desk.write(join(desk.project, 'x.yaml'), text)
    return failureOf(() => singleFileHost(file, 'x', desk.env))
  }
  expect((await failing('hosts:\n  a: {ssh: a}\n')).message).toContain('is no single-host file')
  expect((await failing('ssh_host: box\ntimeot: 5\n')).message).toContain('did you mean "timeout"?')
  expect((await failing('ssh_host: [')).message).toContain('is not valid YAML')
  expect((await failing('')).code).toBe('CONFIG_INVALID')
  expect(await failureOf(() => singleFileHost('/nowhere.yaml', 'x', desk.env))).toMatchObject({
    code: 'CONFIG_MISSING',
    message: 'there is no file /nowhere.yaml',
  })
})
