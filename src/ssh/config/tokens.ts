import { hostname, userInfo } from 'node:os'
import { join } from 'node:path'
import { ownUid, type Env } from '../../base/paths.js'
import { printable } from '../../base/text.js'
import { notObeyed } from './not-obeyed.js'

/** What each `%` letter stands for (ssh_config(5), TOKENS). */
export type Tokens = Readonly<Record<string, string>>

/** What the tokens of a target are made of. */
export interface Facts {
  readonly host: string
  /** As on the command line. */
  readonly alias: string
  readonly hostKeyAlias: string | undefined
  readonly user: string
  readonly port: number
  /** What %C stands for; empty where ssh did not tell. */
  readonly connection: string
  readonly proxyJump: string
}

/** The tokens of IdentityFile, CertificateFile, IdentityAgent and the like. */
export const pathTokens = (facts: Facts): Tokens => ({
  ...proxyTokens(facts),
  C: facts.connection,
  d: sshHome(),
  i: String(ownUid()),
  j: facts.proxyJump,
  L: hostname().replace(/\..*$/su, ''),
  l: hostname(),
  u: userInfo().username,
})

/** The tokens of ProxyCommand and ProxyJump; ssh knows no others there. */
export const proxyTokens = ({ host, alias, hostKeyAlias, user, port }: Facts): Tokens => ({
  '%': '%',
  h: host,
  k: hostKeyAlias ?? alias,
  n: alias,
  p: String(port),
  r: user,
})

/**
 * The home directory as ssh finds it: by the password database, whatever $HOME says. So the key that is
 * offered and the known_hosts file that counts are the very ones that ssh takes.
 */
export const sshHome = (): string => userInfo().homedir

/** `text` with its tokens filled in. @throws DproxyError CONFIG_INVALID for one that ssh would not know */
export const expandTokens = (text: string, tokens: Tokens, keyword: string): string =>
  text.replace(/%(.?)/gsu, (token, letter: string) => tokens[letter] ?? unknownToken(token, keyword))

/**
 * A path with `~`, `${VARIABLE}` and its tokens filled in, in one pass: what was filled in is not looked at
 * again.
 * @throws DproxyError CONFIG_INVALID for an unknown token or a variable that is not set
 */
export const expandPath = (path: string, tokens: Tokens, env: Env, keyword: string): string =>
  expandSshHome(path).replace(
    /%(.?)|\$\{([^}]*)\}/gsu,
    (found, letter: string | undefined, variable: string | undefined) => {
      if (variable !== undefined) return env[variable] ?? unsetVariable(variable, keyword)
      return tokens[letter ?? ''] ?? unknownToken(found, keyword)
    },
  )

/** `~` and `~/x`, as ssh takes them. */
export const expandSshHome = (path: string): string =>
  path === '~' || path.startsWith('~/') ? join(sshHome(), path.slice(1)) : path

const unknownToken = (token: string, keyword: string): never => {
  throw notObeyed(
    `${keyword} has the token ${printable(token)}, which ssh does not know there`,
    'write %% for a percent sign; man ssh_config lists the others under TOKENS',
  )
}

const unsetVariable = (variable: string, keyword: string): never => {
  throw notObeyed(
    `${keyword} in ssh's configuration needs the environment variable ${printable(variable)}, which is not set`,
    'set it, and start dproxy anew; or write the path out',
  )
}
