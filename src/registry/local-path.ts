import { resolve } from 'node:path'
import { expandHome, homeOf, ownUid, runtimeDir, type Env } from '../base/paths.js'
import { printable } from '../base/text.js'
import { didYouMean } from './nearest.js'
import { bad, good, type Parsed } from './parsed.js'

/** Where a host's local socket stands when nothing says otherwise. */
export const DEFAULT_SOCKET = '/tmp/docker-{name}.sock'

const PLACEHOLDERS = ['name', 'runtime', 'uid', 'home']

/** Checks a path as somebody wrote it; it may begin with `~/` and may be relative. */
export const parsePath = (text: string): Parsed<string> => {
  if (text === '') return bad('must not be empty')
  if (printable(text) !== text) return bad('must not have control characters')
  if (text.startsWith('~') && text !== '~' && !text.startsWith('~/')) {
    return bad('must name the whole path: of the "~" forms only "~/…" is understood')
  }
  if (text.length > 4096) return bad('must not be longer than 4096 characters')
  return good(text)
}

/** Checks a path of the remote machine, or `auto`. */
export const parseRemoteSocket = (text: string): Parsed<string> => {
  if (text === 'auto') return good(text)
  if (!text.startsWith('/')) return bad('must be auto or an absolute path')
  return parsePath(text)
}

/** Checks a path in which `{name}`, `{runtime}`, `{uid}` and `{home}` may stand. */
export const parseTemplate = (text: string): Parsed<string> => {
  for (const [whole, word = ''] of text.matchAll(/\{([^{}]*)\}/gu)) {
    if (PLACEHOLDERS.includes(word)) continue
    const known = PLACEHOLDERS.map((placeholder) => `{${placeholder}}`)
    return bad(`must not have the unknown placeholder ${whole.slice(0, 40)}${didYouMean(whole, known)}`)
  }
  return parsePath(text)
}

/** The absolute path that checked text means: `~/` is the home, the rest is relative to `dir`. */
export const absolutePath = (text: string, dir: string, env: Env): string =>
  resolve(dir, expandHome(text, env))

/** The absolute path that a checked template means for the host `name`. */
export const socketPath = (template: string, name: string, dir: string, env: Env): string => {
  const values: Record<string, string> = {
    name,
    runtime: runtimeDir(env),
    uid: String(ownUid()),
    home: homeOf(env),
  }
  const filled = template.replaceAll(/\{([^{}]*)\}/gu, (whole, word: string) => values[word] ?? whole)
  return absolutePath(filled, dir, env)
}
