import constants from 'ssh2/lib/protocol/constants.js'
import type { Algorithms } from '../target.js'
import type { Configs } from './read-ssh-config.js'

const KINDS = {
  kex: { keyword: 'KexAlgorithms', supported: constants.SUPPORTED_KEX },
  cipher: { keyword: 'Ciphers', supported: constants.SUPPORTED_CIPHER },
  hmac: { keyword: 'MACs', supported: constants.SUPPORTED_MAC },
  serverHostKey: { keyword: 'HostKeyAlgorithms', supported: constants.SUPPORTED_SERVER_HOST_KEY },
} as const satisfies Record<keyof Algorithms, unknown>

/**
 * The algorithms that somebody chose in ssh's configuration, as far as ssh2 has them, in the order chosen; a
 * kind that is as ssh's authors left it is absent. `lacking` names the keyword of which nothing is left.
 */
export const algorithmsOf = ({
  config,
  defaults,
}: Configs): { algorithms: Algorithms; lacking: string | undefined } => {
  const chosen = Object.entries(KINDS).flatMap(([kind, { keyword, supported }]) => {
    const list = config.one(keyword.toLowerCase())
    if (list === undefined || list === defaults.one(keyword.toLowerCase())) return []
    return [{ kind, keyword, names: list.split(',').filter((name) => supported.includes(name)) }]
  })
  return {
    algorithms: Object.fromEntries(
      chosen.filter(({ names }) => names.length > 0).map(({ kind, names }) => [kind, names]),
    ),
    lacking: chosen.find(({ names }) => names.length === 0)?.keyword,
  }
}
