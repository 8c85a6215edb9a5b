import { access } from 'node:fs/promises'
import { ownUid, type Env } from '../../base/paths.js'
import { printable } from '../../base/text.js'
import type { Route, Target } from '../target.js'
import { firstBytes } from './first-bytes.js'
import { methodsOf, wouldTry } from './methods.js'
import type { Configs } from './read-ssh-config.js'
import { reasonInRevoked } from './revoked.js'

export interface Asked {
  readonly target: Target
  readonly configs: Configs
  readonly env: Env
  readonly route: Route
  readonly identityFiles: readonly string[]
  readonly certificateFiles: readonly string[]
  /** The keyword of whose algorithms ssh2 has none. */
  readonly lackingAlgorithms: string | undefined
}

/**
 * Why only the system's ssh can do what the configuration asks for, as a clause; null when ssh2 can. Whatever
 * proves or restricts host keys, and cannot be done here, belongs on this list: it must never be passed over.
 */
export const reasonForOpenssh = async (asked: Asked): Promise<string | null> =>
  reasonInWords(asked) ??
  (await reasonInRevoked(asked.configs.config)) ??
  (await reasonInIdentities(asked)) ??
  (await reasonInKerberos(asked)) ??
  null

const reasonInWords = ({ target, configs, route, lackingAlgorithms }: Asked): string | undefined => {
  const { config, defaults } = configs
  const ownCommand = target.proxyCommand !== null
  if (lackingAlgorithms !== undefined) return `its ${lackingAlgorithms} are none that dproxy's own SSH has`
  if (route.kind === 'command' && !ownCommand && config.says('proxyusefdpass')) {
    return 'its ProxyUseFdpass wants a connection handed over'
  }
  for (const keyword of ['KnownHostsCommand', 'PKCS11Provider', 'BindAddress', 'BindInterface']) {
    if (config.unlessNone(keyword.toLowerCase()) !== undefined) return `it has a ${keyword}`
  }
  if (config.says('verifyhostkeydns')) return 'its VerifyHostKeyDNS takes host keys from DNS'
  if (config.says('checkhostip') && !defaults.says('checkhostip'))
    return 'its CheckHostIP checks addresses too'
  if (config.says('hostbasedauthentication') && wouldTry(config, 'hostbased')) {
    return 'its HostbasedAuthentication is on'
  }
  const [bits, usual] = [config, defaults].map((each) => each.number('requiredrsasize', 1) ?? 0)
  if ((bits ?? 0) > (usual ?? 0)) return `its RequiredRSASize refuses RSA keys under ${bits} bits`
  return methodsOf(config).length === 0 ? 'it allows no way of logging in that dproxy has' : undefined
}

const reasonInIdentities = async ({
  identityFiles,
  certificateFiles,
}: Asked): Promise<string | undefined> => {
  for (const file of certificateFiles) {
    if (await exists(file)) return `its identity has a certificate (${printable(file)})`
  }
  for (const file of identityFiles) {
    const type = await publicTypeOf(file)
    if (type?.startsWith('sk-')) return `its identity is a security key (${printable(file)})`
    if (type?.includes('-cert-')) return `its identity is a certificate (${printable(file)})`
  }
  return undefined
}

// Long enough for the type and the beginning of the key.
const PUBLIC_START = 128

/** The type of the public half: beside the file, or the file itself, where only an agent has the private one. */
const publicTypeOf = async (file: string): Promise<string | undefined> => {
  for (const half of [`${file}.pub`, file]) {
    const type = /^(\S+) AAAA/u.exec((await firstBytes(half, PUBLIC_START)).toString('latin1'))?.[1]
    if (type !== undefined) return type
  }
  return undefined
}

// Debian and Fedora switch GSSAPI on for everybody; it counts for those who hold a ticket.
const reasonInKerberos = async ({ configs: { config }, env }: Asked): Promise<string | undefined> => {
  const login = config.says('gssapiauthentication') && wouldTry(config, 'gssapi-with-mic')
  if (!login && !config.says('gssapikeyexchange')) return undefined
  const held = Boolean(env.KRB5CCNAME) || (await exists(`/tmp/krb5cc_${ownUid()}`))
  return held ? 'its GSSAPI login has a Kerberos ticket to use' : undefined
}

const exists = async (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )
