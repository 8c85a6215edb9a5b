import { DproxyError } from '../../base/errors.js'
import { hostFromFlags, hostFromUrl } from '../../registry/adhoc.js'
import type { Host } from '../../registry/host.js'
import { selectHosts } from '../../registry/select.js'
import { strings, text, type Words } from '../command.js'
import { registryOf } from '../hosts.js'
import type { Io } from '../io.js'

/**
 * The hosts that a command line means: from names and @tags of the registry, from `ssh://` addresses, or from the flags that describe one host.
 * @throws DproxyError USAGE, HOST_UNKNOWN, CONFIG_*
 */
export const chooseHosts = async (words: Words, io: Io): Promise<readonly Host[]> => {
  const names = strings(words.names)
  const flag = FLAGS.find((each) => words[each] !== undefined)
  if (flag !== undefined) {
    if (names.length > 0 || words.all) throw flagsAndNames(flag)
    return [fromFlags(words, io)]
  }
  const urls = names.filter((name) => name.startsWith('ssh://'))
  const adHoc = urls.map((url) => hostFromUrl(url, io.env))
  const known = names.filter((name) => !name.startsWith('ssh://'))
  if (adHoc.length > 0 && known.length === 0 && !words.all) return adHoc
  const registry = await registryOf(words, io)
  const selected = selectHosts(registry, known, { all: words.all === true, env: io.env })
  return [...selected, ...adHoc]
}

const FLAGS = ['ssh-host', 'ssh-user', 'ssh-key', 'local-socket', 'remote-socket', 'timeout'] as const

const flagsAndNames = (flag: string): DproxyError =>
  new DproxyError('USAGE', `--${flag} describes a host that is in no file; it takes no names beside it`, {
    hint: 'write either names, or --ssh-host with its companions',
  })

const fromFlags = (words: Words, { env, cwd }: Io): Host =>
  hostFromFlags(
    {
      sshHost: text(words['ssh-host']),
      sshUser: text(words['ssh-user']),
      sshKey: text(words['ssh-key']),
      localSocket: text(words['local-socket']),
      remoteSocket: text(words['remote-socket']),
      timeout: text(words.timeout),
    },
    env,
    cwd,
  )
