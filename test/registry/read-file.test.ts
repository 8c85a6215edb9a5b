import { chmod, chown, mkdir, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { isPrivateGroup } from '../../src/registry/private-group.js'
import { Desk, failureOf } from './support.js'

const ONE = 'hosts:\n  prod:\n    ssh: ssh://me@box.example\n'
const NOBODY = 65_534
const asRoot = test.runIf(process.getuid?.() === 0)

test.each([
  [0o666, '0666'],
  [0o602, '0602'],
])(
  'a config file of mode %o, which everybody may write, is refused with the command',
  async (mode, shown) => {
    await using desk = await Desk.create()
    const path = await desk.write(desk.userConfig, ONE)
    await chmod(path, mode)
    expect(await failureOf(() => desk.load())).toMatchObject({
      code: 'CONFIG_INVALID',
      message: `the config file ${path} may be written to by everybody (mode ${shown})`,
      hint: `chmod go-w ${path}`,
    })
    await chmod(path, 0o644)
    expect((await desk.load()).hosts).toHaveLength(1)
  },
)

asRoot('a config file that a group of several people may write is refused', async () => {
  await using desk = await Desk.create()
  const path = await desk.write(desk.userConfig, ONE)
  await chown(path, 0, NOBODY)
  await chmod(path, 0o664)
  expect(await failureOf(() => desk.load())).toMatchObject({
    code: 'CONFIG_INVALID',
    message: `the config file ${path} may be written to by its group (gid ${NOBODY}, mode 0664)`,
    hint: `chmod go-w ${path}`,
  })
  await chmod(path, 0o644)
  expect((await desk.load()).hosts).toHaveLength(1)
})

test('a config file in a directory where everybody may put another one in its place is refused', async () => {
  await using desk = await Desk.create()
  const path = await desk.write(desk.userConfig, ONE)
  const dir = dirname(path)
  await chmod(dir, 0o777)
  expect(await failureOf(() => desk.load())).toMatchObject({
    code: 'CONFIG_INVALID',
    message: `the config file ${path} stands in a directory that may be written to by everybody (mode 0777): ${dir}`,
    hint: `chmod go-w ${dir}`,
  })
  // As /tmp: there only the owner of a file can replace it.
  await chmod(dir, 0o1777)
  expect((await desk.load()).hosts).toHaveLength(1)
})

asRoot('a config file in the directory of another user is refused, sticky or not', async () => {
  await using desk = await Desk.create()
  const path = await desk.write(desk.userConfig, ONE)
  await chown(dirname(path), NOBODY, NOBODY)
  for (const mode of [0o755, 0o1777]) {
    await chmod(dirname(path), mode)
    const { code, message } = await failureOf(() => desk.load())
    expect(code).toBe('CONFIG_INVALID')
    expect(message).toContain(`stands in a directory of another user (uid ${NOBODY})`)
  }
})

test('behind a link, the directory of the link and the one of the file both count', async () => {
  await using desk = await Desk.create()
  const file = await desk.write(join(desk.home, 'dotfiles/dproxy.yaml'), ONE)
  await mkdir(dirname(desk.userConfig), { recursive: true })
  await symlink(file, desk.userConfig)
  expect((await desk.load()).hosts).toHaveLength(1)
  for (const dir of [dirname(file), dirname(desk.userConfig)]) {
    await chmod(dir, 0o777)
    expect((await failureOf(() => desk.load())).hint).toBe(`chmod go-w ${dir}`)
    await chmod(dir, 0o700)
  }
})

test('a path with a space is one word of the command to type', async () => {
  await using desk = await Desk.create()
  const path = await desk.write(join(desk.project, "it's mine/config.yaml"), ONE)
  await chmod(path, 0o666)
  const { hint } = await failureOf(() => desk.load(path))
  expect(hint).toBe(`chmod go-w '${path.replace("'", String.raw`'\''`)}'`)
})

test("a group is the user's own only when nobody else can be in it", () => {
  const passwd = 'root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\nother:x:1001:100::/:/bin/sh\n'
  const mine = (group: string, users = passwd) => isPrivateGroup(1000, 'me', { passwd: users, group })
  expect(mine('root:x:0:\nme:x:1000:\n')).toBe(true)
  expect(mine('me:x:1000:me\n')).toBe(true)
  expect(mine('me:x:1000:me,other\n')).toBe(false)
  expect(mine('users:x:1000:\n')).toBe(false)
  expect(mine('me:x:1000:\nalias:x:1000:other\n')).toBe(false)
  expect(mine('root:x:0:\n')).toBe(false)
  expect(mine('me:x:1000:\n', `${passwd}twin:x:1002:1000::/:/bin/sh\n`)).toBe(false)
  expect(mine('me:x:1000:\n', 'root:x:0:0::/root:/bin/sh\n')).toBe(false)
})
