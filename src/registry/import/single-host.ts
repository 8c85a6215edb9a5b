import { dirname, resolve } from 'node:path'
import { DproxyError } from '../../base/errors.js'
import { expandHome, type Env } from '../../base/paths.js'
import { printable } from '../../base/text.js'
import { checkFile } from '../check.js'
import { readDocument } from '../document.js'
import type { NewHost } from '../edit/entry.js'
import { isLegacy } from '../legacy.js'
import { configInvalid } from '../problems.js'
import { readConfigFile } from '../read-file.js'
import { sshText } from '../ssh-text.js'

/**
 * The host that a single-host file describes, under the given name. Its relative paths become absolute, since
 * they will stand in another file.
 * @throws DproxyError CONFIG_MISSING, or CONFIG_INVALID with all that is wrong with the file
 */
export const singleFileHost = async (file: string, name: string, env: Env): Promise<NewHost> => {
  const text = await readConfigFile(file)
  if (text === undefined) {
    throw new DproxyError('CONFIG_MISSING', `there is no file ${printable(file)}`, {
      hint: 'dproxy host import --help shows what else can be imported',
    })
  }
  const { value } = readDocument(text)
  const { hosts, problems } = checkFile(file, text, 'user', env)
  if (value !== undefined && !isLegacy(value)) {
    throw new DproxyError('CONFIG_INVALID', `${printable(file)} is no single-host file: it has no ssh_host`, {
      hint: `if it is a config file of dproxy, use it as it is: dproxy status --config ${printable(file)}`,
    })
  }
  const [host] = hosts
  if (problems.length > 0 || !host || !isLegacy(value)) throw configInvalid([{ file, problems }])

  const given = (key: string): string | undefined => {
    const word = value[key]
    return typeof word === 'string' || typeof word === 'number' ? String(word) : undefined
  }
  const path = (key: string): string | undefined => movedPath(given(key), dirname(file), env)
  const timeout = given('timeout')
  const entry = {
    ssh: sshText(host.host),
    ...defined('identityFile', path('ssh_key_path')),
    ...defined('remoteSocket', given('remote_socket')),
    ...defined('socket', path('local_socket')),
    ...defined('connectTimeout', timeout === undefined || /[a-z]/u.test(timeout) ? timeout : `${timeout}s`),
  }
  return { name, entry }
}

const defined = (key: string, value: string | undefined): Record<string, string> =>
  value === undefined ? {} : { [key]: value }

/** A path as it must be written to mean the same in another directory. */
const movedPath = (path: string | undefined, dir: string, env: Env): string | undefined =>
  path === undefined || /^(~\/|\{(runtime|home)\})/u.test(path) ? path : resolve(dir, expandHome(path, env))
