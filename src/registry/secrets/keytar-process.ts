import { execa } from 'execa'
import type { Env } from '../../base/paths.js'

/** A call of one of keytar's functions. */
export interface KeytarCall {
  readonly call: 'getPassword' | 'setPassword' | 'deletePassword' | 'findCredentials'
  readonly words: readonly string[]
}

export type KeytarAnswer =
  /** What the function returned; of `findCredentials` the accounts alone. */
  | { readonly kind: 'done'; readonly value: unknown }
  /** The function failed, in the words of the system's library. */
  | { readonly kind: 'failed'; readonly why: string }
  /** The library itself could not be loaded. */
  | { readonly kind: 'unloadable'; readonly why: string }
  /** The process died: how. */
  | { readonly kind: 'died'; readonly why: string }

/**
 * Runs one function of keytar, in a process of its own. Its calls block a thread until the keychain answers, and
 * Node does not exit while one is blocked; its `findCredentials` crashes on a locked keychain
 * (atom/node-keytar#477). A process can be killed. Secrets travel through its standard input and output.
 * @param library the file to load keytar from
 * @param env where its session is; nothing else of our environment is given to it
 * @throws the signal's reason
 */
export const callKeytar = async (
  library: string,
  { call, words }: KeytarCall,
  env: Env,
  signal: AbortSignal,
): Promise<KeytarAnswer> => {
  const ended = await execa(process.execPath, ['-e', PROGRAM, library], {
    input: JSON.stringify({ call, words }),
    env: sessionOf(env),
    extendEnv: false,
    cwd: '/',
    cancelSignal: signal,
    killSignal: 'SIGKILL',
    // NODE_DEBUG=execa would print what it answers.
    verbose: 'none',
    reject: false,
    stderr: 'ignore',
    maxBuffer: LARGEST_ANSWER,
  })
  signal.throwIfAborted()
  try {
    return JSON.parse(ended.stdout) as KeytarAnswer
  } catch {
    const how = ended.signal === undefined ? `code ${ended.exitCode ?? 'unknown'}` : ended.signal
    return { kind: 'died', why: how }
  }
}

const LARGEST_ANSWER = 1024 * 1024

/** Where the user's session is, and the language in which libraries complain. */
const sessionOf = (env: Env): Record<string, string> => {
  const names = ['HOME', 'USER', 'LOGNAME', 'PATH', 'TMPDIR', 'DBUS_SESSION_BUS_ADDRESS', 'XDG_RUNTIME_DIR']
  const found = names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]] as const]))
  return { ...Object.fromEntries(found), LC_ALL: 'C' }
}

// keytar hides why its native part could not be loaded: so what it tried is tried once more, to hear it.
const PROGRAM = `
const [library] = process.argv.slice(1)
const { dirname, join } = require('node:path')
const natives = ['build/Release', 'prebuilds/' + process.platform + '-' + process.arch]
const load = () => {
  try {
    return require(library)
  } catch (failure) {
    for (const native of natives) {
      try {
        require(join(dirname(library), '..', native, 'keytar.node'))
      } catch (why) {
        if (why.code !== 'MODULE_NOT_FOUND') throw why
      }
    }
    throw failure
  }
}
const answer = async (asked) => {
  let keytar
  try {
    keytar = load()
  } catch (failure) {
    return { kind: 'unloadable', why: failure.message }
  }
  const { call, words } = JSON.parse(asked)
  try {
    const value = await keytar[call](...words)
    const shown = call === 'findCredentials' ? value.map(({ account }) => account) : value
    return { kind: 'done', value: shown }
  } catch (failure) {
    return { kind: 'failed', why: failure.message }
  }
}
let asked = ''
process.stdin.setEncoding('utf8')
process.stdin.on('data', (text) => { asked += text })
process.stdin.on('end', async () => {
  process.stdout.write(JSON.stringify(await answer(asked)))
})
`
