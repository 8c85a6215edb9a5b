import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { Kept } from './kept.js'
import { commandOf, isAlive } from './processes.js'
import { TempDir } from './temp-dir.js'
import { until } from './until.js'

/**
 * - `unlocked`: a gnome-keyring with one open keyring, the default
 * - `without keyring`: a gnome-keyring that was never given a password, so that nothing can be stored
 * - `nobody`: a session bus without a keychain on it
 */
export type KeyringState = 'unlocked' | 'without keyring' | 'nobody'

/** A session bus of its own, with a real gnome-keyring on it; both end with it. */
export class Keyring implements AsyncDisposable {
  /** What a program must have in its environment to belong to this session. */
  readonly env: Readonly<Record<string, string>>
  readonly #kept: Kept
  readonly #dir: TempDir

  static async start(state: KeyringState): Promise<Keyring> {
    const dir = await TempDir.create()
    const at = (name: string) => join(dir.path, name)
    for (const name of ['run', 'data']) await mkdir(at(name), { mode: 0o700 })
    await writeFile(at('bus.xml'), busConfig(at('bus')))
    const env = {
      HOME: dir.path,
      XDG_RUNTIME_DIR: at('run'),
      XDG_DATA_HOME: at('data'),
      TESTBED: dir.path,
      PATH: process.env.PATH ?? '/usr/bin:/bin',
    }
    const words = Object.entries(env).map(([name, value]) => `${name}=${value}`)
    const session = [
      'dbus-run-session',
      `--config-file=${at('bus.xml')}`,
      '--',
      'sh',
      '-c',
      SESSION,
      'sh',
      state,
    ]
    const kept = Kept.start(['env', '-i', ...words, ...session], { dir: dir.path, log: at('log') })
    const keyring = new Keyring(dir, kept, { ...env, DBUS_SESSION_BUS_ADDRESS: `unix:path=${at('bus')}` })
    try {
      await keyring.#ready(state)
      return keyring
    } catch (failure) {
      const log = await readFile(at('log'), 'utf8').catch(() => 'no log')
      await keyring[Symbol.asyncDispose]()
      throw new Error(`no session bus with a keychain: ${log}`, { cause: failure })
    }
  }

  private constructor(dir: TempDir, kept: Kept, env: Record<string, string>) {
    this.#dir = dir
    this.#kept = kept
    this.env = env
  }

  /** Locks the default keyring, as a desktop does that was left alone. */
  async lock(): Promise<void> {
    await this.#ask(
      'org.freedesktop.Secret.Service.Lock',
      'array:objpath:/org/freedesktop/secrets/collection/login',
    )
  }

  /** The keychain ends and a new one comes, unlocked: as after logging in to the desktop once more. */
  async unlock(): Promise<void> {
    const [daemon] = this.daemons()
    if (daemon === undefined) throw new Error('no keychain runs')
    process.kill(daemon)
    await until('the keychain is gone', () => !isAlive(daemon))
    await this.#ready('unlocked')
  }

  /** The keychain's processes. */
  daemons(): number[] {
    return this.pids().filter((pid) => commandOf(pid).startsWith('gnome-keyring-daemon'))
  }

  /** The processes of the session: the bus, the keychain. */
  pids(): number[] {
    return this.#kept.pids()
  }

  /** What `secret-tool` sees of an item; a second witness beside keytar. */
  async lookup(service: string, account: string): Promise<string> {
    const words = ['lookup', 'service', service, 'account', account]
    return (await execa('secret-tool', words, { env: this.env, extendEnv: false, reject: false })).stdout
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kept[Symbol.asyncDispose]()
    await this.#dir[Symbol.asyncDispose]()
  }

  async #ready(state: KeyringState): Promise<void> {
    await until('the session bus answers', async () => {
      if (state === 'nobody') return this.#send('org.freedesktop.DBus', '/', 'org.freedesktop.DBus.GetId')
      if (state === 'without keyring')
        return this.#ask('org.freedesktop.Secret.Service.ReadAlias', 'string:default')
      const what = ['string:org.freedesktop.Secret.Collection', 'string:Locked']
      return this.#send(KEYCHAIN, `${PATH}/collection/login`, 'org.freedesktop.DBus.Properties.Get', ...what)
    })
  }

  #ask(method: string, ...words: string[]): Promise<true> {
    return this.#send(KEYCHAIN, PATH, method, ...words)
  }

  async #send(to: string, path: string, method: string, ...words: string[]): Promise<true> {
    const all = ['--session', '--print-reply', `--dest=${to}`, path, method, ...words]
    await execa('dbus-send', all, { env: this.env, extendEnv: false })
    return true
  }
}

const KEYCHAIN = 'org.freedesktop.secrets'
const PATH = '/org/freedesktop/secrets'

// The keychain has to run in the foreground, so that it ends with the session.
const PASSWORD = 'the password of the keyring'
const SESSION = `
case $1 in
  unlocked) while true; do printf '${PASSWORD}' | gnome-keyring-daemon --foreground --unlock --components=secrets; done ;;
  'without keyring') gnome-keyring-daemon --foreground --components=secrets ;;
  nobody) exec sleep 100000 ;;
esac
`

// Without directories of services, so that the bus starts nothing by itself: no keychain, and no dialog.
const busConfig = (path: string): string => `<!DOCTYPE busconfig PUBLIC
  "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=${path}</listen>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>
`
