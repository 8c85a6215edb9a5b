import { hostNameProblem, userNameProblem } from '../../base/openssh-names.js'
import type { Env } from '../../base/paths.js'
import { printable } from '../../base/text.js'
import type { Route, Target } from '../target.js'
import { parseHops } from './hops.js'
import { notObeyed } from './not-obeyed.js'
import type { SshConfig } from './ssh-config.js'
import { expandTokens, proxyTokens, type Facts } from './tokens.js'

/**
 * How the bytes get there. What the target says overrides both keywords of ssh's configuration, as ssh's own
 * command line does.
 * @throws DproxyError CONFIG_INVALID
 */
export const routeOf = (
  { proxyJump, proxyCommand }: Target,
  config: SshConfig,
  facts: Facts,
  env: Env,
): Route => {
  if (proxyCommand) return ownCommand(proxyCommand, facts)
  if (proxyJump) return proxyJump.length === 0 ? { kind: 'direct' } : { kind: 'jump', hops: proxyJump }
  const jump = config.unlessNone('proxyjump')
  if (jump !== undefined) return { kind: 'jump', hops: parseHops(jump, proxyTokens(facts)) }
  const command = config.unlessNone('proxycommand')
  return command === undefined ? { kind: 'direct' } : shellCommand(command, facts, env)
}

// No shell reads these words; but a program could take a name for an option.
const ownCommand = (words: readonly string[], facts: Facts): Route => {
  checkNames(facts)
  const tokens = proxyTokens(facts)
  return { kind: 'command', words: words.map((word) => expandTokens(word, tokens, 'proxyCommand')) }
}

// ssh_config(5), ProxyCommand: the user's own shell reads the line, after an `exec`.
const shellCommand = (line: string, facts: Facts, env: Env): Route => {
  checkNames(facts)
  const expanded = expandTokens(line, proxyTokens(facts), 'ProxyCommand')
  return { kind: 'command', words: [env.SHELL || '/bin/sh', '-c', `exec ${expanded}`] }
}

/**
 * ssh holds only the names of its command line against these rules. Those of its files reach the same shell,
 * and may come from elsewhere: an Include, a wildcard, a generated file.
 */
const checkNames = ({ alias, host, hostKeyAlias, user }: Facts): void => {
  const names = [
    { what: 'host name', name: host, problem: hostNameProblem(host) },
    { what: 'host name', name: alias, problem: hostNameProblem(alias) },
    {
      what: 'HostKeyAlias',
      name: hostKeyAlias ?? '',
      problem: hostKeyAlias && hostNameProblem(hostKeyAlias),
    },
    { what: 'user name', name: user, problem: userNameProblem(user) },
  ]
  for (const { what, name, problem } of names) {
    if (!problem) continue
    throw notObeyed(
      `the ${what} "${printable(name)}" of ${printable(alias)} ${problem}: a command would be made of it`,
      `correct it in ssh's configuration; see it with: ssh -G ${printable(alias)}`,
    )
  }
}
