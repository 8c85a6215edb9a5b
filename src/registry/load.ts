import { resolve } from 'node:path'
import { DproxyError } from '../base/errors.js'
import { expandHome, userConfigPath, type Env } from '../base/paths.js'
import { printable } from '../base/text.js'
import { checkFile, type CheckedFile } from './check.js'
import { findProjectFile } from './find-project-file.js'
import { sameNameKey, type Host } from './host.js'
import type { Origin } from './project-file.js'
import { configInvalid, type Problem } from './problems.js'
import { readConfigFile } from './read-file.js'

/** All hosts the user has told us of. */
export interface Registry {
  /** The config files they come from, absolute, in the order of `hosts`; none when there is no config. */
  readonly files: readonly string[]
  readonly hosts: readonly Host[]
}

export interface WhereToLook {
  readonly env: Env
  readonly cwd: string
  /** `--config`: this file and no other. Without it, `DPROXY_CONFIG` may name one. */
  readonly configFile?: string | undefined
}

/**
 * Finds, reads and checks the config: one file when it is named, else the project file from `cwd` up together
 * with the user's own. Nothing in them is ever executed.
 * @throws DproxyError CONFIG_MISSING when the named file does not exist; CONFIG_INVALID with every problem of
 * every file
 */
export const loadRegistry = async (where: WhereToLook): Promise<Registry> => {
  const checked = await checkAll(where)
  const files = checked.map((file) => ({ ...file, problems: [...file.problems, ...clashes(file, checked)] }))
  const faulty = files.filter(({ problems }) => problems.length > 0)
  if (faulty.length > 0) throw configInvalid(faulty)
  return {
    files: files.map(({ file }) => file),
    hosts: files.flatMap(({ hosts }) => hosts.map(({ host }) => host)),
  }
}

const checkAll = async ({ env, cwd, configFile }: WhereToLook): Promise<CheckedFile[]> => {
  const named = configFile ?? (env.DPROXY_CONFIG || undefined)
  if (named !== undefined) {
    const path = resolve(cwd, expandHome(named, env))
    const checked = named === '' ? undefined : await check(path, 'user', env)
    if (checked !== undefined) return [checked]
    throw new DproxyError(
      'CONFIG_MISSING',
      `the config file ${printable(named === '' ? '""' : path)} does not exist`,
      {
        hint: `it was named by ${configFile === undefined ? 'DPROXY_CONFIG' : '--config'}; correct the path or create the file`,
      },
    )
  }
  const project = await findProjectFile(cwd)
  const found = [
    project === undefined ? undefined : await check(project, 'project', env),
    await check(userConfigPath(env), 'user', env),
  ]
  return found.filter((file) => file !== undefined)
}

const check = async (path: string, origin: Origin, env: Env): Promise<CheckedFile | undefined> => {
  const text = await readConfigFile(path)
  return text === undefined ? undefined : checkFile(path, text, origin, env)
}

/** What a project file must leave alone: names and sockets of the hosts in the user's own file. */
const clashes = (project: CheckedFile, all: readonly CheckedFile[]): Problem[] => {
  const user = all.find(({ origin }) => origin === 'user')
  if (project.origin !== 'project' || user === undefined) return []
  const taken = new Map([...user.names].map(([name, line]) => [sameNameKey(name), { name, line }]))
  const names = [...project.names].flatMap(([name, line]): Problem[] => {
    const own = taken.get(sameNameKey(name))
    if (own === undefined) return []
    const where = `"${own.name}" of your own file (${user.file}, line ${own.line})`
    return [{ line, path: ['hosts', name], sentence: `must not redefine ${where}; choose another name` }]
  })
  const sockets = project.hosts.flatMap(({ host, path, socketLine: line }): Problem[] => {
    const own = user.hosts.find((other) => other.host.socket === host.socket)
    if (own === undefined || sameNameKey(own.host.name) === sameNameKey(host.name)) return []
    const where = `"${own.host.name}" of ${user.file}`
    return [{ line, path, sentence: `has the same local socket as ${where}: ${host.socket}` }]
  })
  return [...names, ...sockets]
}
