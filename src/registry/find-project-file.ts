import type { PublicExplorer } from 'cosmiconfig'
import * as internals from 'cosmiconfig/dist/Explorer.js'
import { dirname, resolve } from 'node:path'

const SEARCH_PLACES = [
  '.dproxyrc',
  '.dproxyrc.yaml',
  '.dproxyrc.yml',
  '.dproxyrc.json',
  'dproxy.config.yaml',
  'dproxy.config.yml',
  'dproxy.config.json',
]

/** The first project file from `cwd` up to the root; undefined when there is none. Nothing is ever executed. */
export const findProjectFile = async (cwd: string): Promise<string | undefined> => {
  const explorer = dataOnlyExplorer()
  for (let dir = resolve(cwd); ; dir = dirname(dir)) {
    const found = await explorer.search(dir)
    if (found) return found.filepath
    if (dir === dirname(dir)) return undefined
  }
}

// cosmiconfig's front door, cosmiconfig(), looks for options of its own in the working directory and runs
// .config/config.{js,cjs,mjs,ts} there, with loaders that a caller cannot replace: a cloned repository could
// run code. The class behind that door, told that there is no such file, does not.
const { Explorer } = internals as unknown as { Explorer: new (options: object) => PublicExplorer }

const asText = (_path: string, content: string): string => content

const dataOnlyExplorer = (): PublicExplorer => {
  return new Explorer({
    moduleName: 'dproxy',
    searchPlaces: SEARCH_PLACES,
    loaders: { noExt: asText, '.yaml': asText, '.yml': asText, '.json': asText },
    metaConfigFilePath: null,
    // "global" also takes ~/.config/dproxy/config.js, and "project" stops at the first package.json.
    searchStrategy: 'none',
    // An empty file is told of, not passed over.
    ignoreEmptySearchPlaces: false,
    cache: false,
    transform: (result: unknown) => result,
  })
}
