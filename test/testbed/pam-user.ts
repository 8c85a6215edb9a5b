import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { exclusively } from '../../src/base/exclusively.js'
import { ownUid } from '../../src/base/paths.js'
import { program } from './parts.js'
import { isAlive } from './processes.js'

/** Why no user with a password can be made here; undefined when one can. */
export const noPamUser = (): string | undefined =>
  ownUid() !== 0
    ? 'needs root, to make a user with a password'
    : ['useradd', 'userdel', 'chpasswd'].find((name) => !program(name))

/** A user of this machine with a password, that can do nothing else; removed with its scope. */
export class PamUser implements AsyncDisposable {
  readonly name: string
  readonly password: string

  static async create(): Promise<PamUser> {
    // The pid tells whose it is: those of a run that was killed are removed by the next.
    const name = `${PREFIX}${process.pid}x${randomBytes(2).toString('hex')}`
    const password = `pw-${randomBytes(9).toString('hex')}`
    await exclusively(LOCK, async () => {
      await removeLeftOvers()
      await promisify(execFile)(at('useradd'), ['-M', '-d', '/nonexistent', '-s', '/bin/sh', name])
      const chpasswd = spawn(at('chpasswd'), { stdio: ['pipe', 'ignore', 'inherit'] })
      chpasswd.stdin.end(`${name}:${password}\n`)
      const [code] = (await once(chpasswd, 'exit')) as [number | null]
      if (code !== 0) throw new Error(`chpasswd ended with ${code}`)
    })
    return new PamUser(name, password)
  }

  private constructor(name: string, password: string) {
    this.name = name
    this.password = password
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await exclusively(LOCK, () => remove(this.name))
  }
}

const PREFIX = 'dptb'
// The tools' own lock on /etc/passwd does not wait.
const LOCK = '/tmp/dptb-users.lock'

const at = (name: string): string => program(name) ?? name

const remove = (name: string): Promise<unknown> => promisify(execFile)(at('userdel'), ['-f', name])

const removeLeftOvers = async (): Promise<void> => {
  const names = [...(await readFile('/etc/passwd', 'utf8')).matchAll(/^dptb(\d+)x[^:]*/gmu)]
  for (const [name, pid] of names) if (!isAlive(Number(pid))) await remove(name)
}
