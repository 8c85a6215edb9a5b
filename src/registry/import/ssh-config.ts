import { constants } from 'node:fs'
import { open, readdir, realpath } from 'node:fs/promises'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { DproxyError, errnoOf } from '../../base/errors.js'
import { homeOf, type Env } from '../../base/paths.js'
import { printable } from '../../base/text.js'
import type { Found } from './candidate.js'
import { lineWords } from './ssh-config-line.js'
import { isPattern, matches } from './wildcard.js'

// As OpenSSH's READCONF_MAX_DEPTH.
const DEEPEST_INCLUDE = 16
const LARGEST_BYTES = 1024 * 1024

/** ssh's own configuration file of this user. */
export const userSshConfig = (env: Env): string => env.DPROXY_SSH_CONFIG || join(homeOf(env), '.ssh/config')

/**
 * The hosts that an ssh_config file names: every alias of a `Host` line that is no pattern, in the order of the
 * file, files that it includes as well. Each becomes `ssh: ALIAS`, so that ssh's configuration stays the one
 * place that knows more of it. Only `Host` and `Include` are read, and nothing is executed.
 * @throws DproxyError CONFIG_MISSING or CONFIG_INVALID when `file` cannot be read
 */
export const sshConfigHosts = async (file: string, env: Env): Promise<Found> => {
  const aliases = new Set<string>()
  const notes: string[] = []
  const seen = new Set<string>()

  const read = async (path: string, text: string, depth: number, outer: Applies): Promise<void> => {
    let applies = outer
    for (const line of text.split('\n')) {
      const [keyword = '', ...words] = lineWords(line)
      switch (keyword.toLowerCase()) {
        case 'host': {
          applies = (alias) => outer(alias) && isMeant(words, alias)
          const named = words.filter((word) => !isPattern(word) && !word.startsWith('!'))
          for (const alias of named.filter(applies)) aliases.add(alias)
          break
        }
        case 'match':
          // What else a Match asks for is known only when ssh asks it.
          applies = words.length === 1 && words[0]?.toLowerCase() === 'all' ? outer : () => false
          break
        case 'include':
          for (const word of words) await include(path, word, depth, applies)
          break
      }
    }
  }

  const include = async (from: string, word: string, depth: number, applies: Applies): Promise<void> => {
    if (depth >= DEEPEST_INCLUDE) {
      notes.push(`${printable(from)} includes more than ${DEEPEST_INCLUDE} levels of files`)
      return
    }
    for (const path of await expanded(includePath(word, env))) {
      const place = await realpath(path).catch(() => path)
      if (seen.has(place)) continue
      seen.add(place)
      try {
        await read(path, await textOf(path), depth + 1, applies)
      } catch (failure) {
        if (!(failure instanceof DproxyError)) throw failure
        // ssh passes over files that are not there.
        if (failure.code !== 'CONFIG_MISSING') notes.push(failure.message)
      }
    }
  }

  seen.add(await realpath(file).catch(() => file))
  await read(file, await textOf(file), 0, () => true)
  return { hosts: [...aliases].map((alias) => ({ name: alias, entry: { ssh: alias } })), notes }
}

/** Whether what a block holds is for an alias. */
type Applies = (alias: string) => boolean

/** ssh_config(5), Host: one pattern must match, and no negated one. */
const isMeant = (patterns: readonly string[], alias: string): boolean =>
  patterns.some((pattern) => !pattern.startsWith('!') && matches(pattern, alias)) &&
  !patterns.some((pattern) => pattern.startsWith('!') && matches(pattern.slice(1), alias))

/** ssh_config(5), Include: `~` is the home, a relative path counts from ~/.ssh, `${VAR}` is the environment's. */
const includePath = (word: string, env: Env): string => {
  const filled = word
    .replace(/^~(?=\/|$)/u, homeOf(env))
    .replaceAll(/\$\{(\w+)\}/gu, (whole, name: string) => env[name] ?? whole)
    .replaceAll('%d', homeOf(env))
  return isAbsolute(filled) ? filled : resolve(homeOf(env), '.ssh', filled)
}

/** The files that a path with wildcards means, sorted as glob(7) does. */
const expanded = async (path: string): Promise<string[]> => {
  if (!isPattern(path)) return [path]
  let found = ['/']
  for (const part of path.split('/').filter((each) => each !== '')) {
    const next = await Promise.all(
      found.map(async (dir) => {
        if (!isPattern(part)) return [join(dir, part)]
        const names = await readdir(dir).catch(() => [])
        return names
          .filter((name) => matches(part, name) && (part.startsWith('.') || !name.startsWith('.')))
          .toSorted()
          .map((name) => join(dir, name))
      }),
    )
    found = next.flat()
  }
  return found
}

const textOf = async (path: string): Promise<string> => {
  try {
    // Without O_NONBLOCK the open of a FIFO waits for a writer.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const found = await file.stat()
      if (!found.isFile()) throw unreadable(path, 'is not a regular file')
      if (found.size > LARGEST_BYTES) throw unreadable(path, 'is larger than 1 MiB')
      return await file.readFile('utf8')
    } finally {
      await file.close()
    }
  } catch (failure) {
    if (failure instanceof DproxyError) throw failure
    const errno = errnoOf(failure)
    if (errno === 'ENOENT' || errno === 'ENOTDIR') {
      throw new DproxyError('CONFIG_MISSING', `there is no ssh configuration at ${printable(path)}`, {
        hint: 'name another file: dproxy host import --ssh-config ./FILE',
        cause: failure,
      })
    }
    throw unreadable(path, `cannot be read: ${errno ?? 'unknown'}`, failure)
  }
}

const unreadable = (path: string, why: string, cause?: unknown): DproxyError =>
  new DproxyError('CONFIG_INVALID', `the ssh configuration ${printable(path)} ${why}`, {
    hint: `look at it: ls -l ${printable(dirname(path))}`,
    cause,
  })
