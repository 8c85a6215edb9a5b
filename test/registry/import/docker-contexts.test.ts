import { execa } from 'execa'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { dockerContextHosts } from '../../../src/registry/import/docker-contexts.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Desk } from '../support.js'

/** A home with Docker contexts made by docker itself. */
const withContexts = async (desk: Desk, contexts: Record<string, string>) => {
  const env = { ...desk.env, PATH: process.env.PATH, DOCKER_CONFIG: join(desk.home, 'docker') }
  for (const [name, host] of Object.entries(contexts))
    await execa(
      'docker',
      ['context', 'create', name, '--docker', `host=${host}`, '--description', `d ${name}`],
      {
        env,
        extendEnv: false,
      },
    )
  return env
}

const CONTEXTS = {
  prod: 'ssh://deploy@prod.example:2222',
  rootless: 'ssh://me@box/run/user/1000/docker.sock',
  here: 'unix:///var/run/docker.sock',
  there: 'tcp://10.0.0.1:2376',
}

const EXPECTED = [
  { name: 'prod', entry: { ssh: 'ssh://deploy@prod.example:2222', description: 'd prod' } },
  {
    name: 'rootless',
    entry: { ssh: 'ssh://me@box', remoteSocket: '/run/user/1000/docker.sock', description: 'd rootless' },
  },
]

describeWith(['docker'], 'of the contexts that docker has', () => {
  test('those with an ssh:// address are hosts', async () => {
    await using desk = await Desk.create()
    const env = await withContexts(desk, CONTEXTS)
    expect(await dockerContextHosts(env)).toEqual({ hosts: EXPECTED, notes: [] })
  })

  test('an address in the environment is no context', async () => {
    await using desk = await Desk.create()
    const env = { ...(await withContexts(desk, {})), DOCKER_HOST: 'ssh://me@not-a-context' }
    expect(await dockerContextHosts(env)).toEqual({ hosts: [], notes: [] })
    expect(await dockerContextHosts({ ...env, DOCKER_CONTEXT: 'gone' })).toEqual({ hosts: [], notes: [] })
  })

  test('one that is broken is told of, and the others are still found', async () => {
    await using desk = await Desk.create()
    const env = await withContexts(desk, { ...CONTEXTS, torn: 'ssh://me@torn' })
    const store = join(desk.home, 'docker/contexts/meta')
    for (const dir of await readdir(store)) {
      const file = join(store, dir, 'meta.json')
      if ((await readFile(file, 'utf8')).includes('torn')) await writeFile(file, '{"Name": "to')
    }
    const { hosts, notes } = await dockerContextHosts(env)
    expect(hosts).toEqual(EXPECTED)
    expect(notes).toEqual([expect.stringContaining('a Docker context cannot be read: ')])
  })

  test('they are found where docker is not installed any more', async () => {
    await using desk = await Desk.create()
    const env = await withContexts(desk, CONTEXTS)
    expect(await dockerContextHosts({ ...env, PATH: desk.home })).toEqual({ hosts: EXPECTED, notes: [] })
    await rm(join(desk.home, 'docker'), { recursive: true })
    expect(await dockerContextHosts({ ...env, PATH: desk.home })).toEqual({ hosts: [], notes: [] })
  })
})
