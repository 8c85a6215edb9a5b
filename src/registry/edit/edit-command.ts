import { shellWord } from '../../base/text.js'
import { userConfigPath, type Env } from '../../base/paths.js'

/** What to type to edit a config file by hand, at one of its hosts; the file is named unless it is the one found anyway. */
export const editCommand = (file: string, env: Env, host?: string): string => {
  const isFound = file === userConfigPath(env) && !env.DPROXY_CONFIG
  const words = [...(host === undefined ? [] : [host]), ...(isFound ? [] : ['--config', file])]
  return ['dproxy host edit', ...words.map(shellWord)].join(' ')
}
