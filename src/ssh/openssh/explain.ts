import { DproxyError, type ErrorCode, type Stage } from '../../base/errors.js'
import { address } from '../target.js'
import { throttled } from '../throttled.js'
import { explainHostKey } from './explain-host-key.js'
import { explainLogin } from './explain-login.js'
import { find, type Ended } from './ended.js'

/** Why an `ssh` ended before it had logged in. */
export const explain = (ended: Ended): DproxyError =>
  explainHostKey(ended) ??
  explainStart(ended) ??
  throttled(ended.resolved, ended.log.greeting) ??
  explainProxy(ended) ??
  explainConnect(ended)

const explainConnect = (ended: Ended): DproxyError => {
  const there = address(ended.resolved)
  const [lookup] = find(ended.log, /^ssh: (Could not resolve hostname .*)$/u)
  if (lookup) return failure('RESOLVE_FAILED', 'resolve', lookup, 'is the name right, and does DNS know it?')
  const [connect] = find(ended.log, /^ssh: connect to host .* port \d+: (.*)$/u)
  if (connect) {
    const [code, hint] = CONNECT[connect] ?? ['CONNECT_FAILED', 'is the machine up, and the network to it?']
    return failure(code, 'connect', `cannot connect to ${there}: ${connect}`, hint)
  }
  const [algorithm] = find(ended.log, /^Unable to negotiate with .*?: (.*)$/u)
  if (algorithm) {
    return failure(
      'HANDSHAKE_FAILED',
      'host key',
      `${there} and the installed ssh have no algorithm in common: ${algorithm}`,
      'enable a common one there, or update the older of the two',
    )
  }
  if (ended.log.stage === 'login') return explainLogin(ended)
  const late = find(ended.log, /(^Connection timed out during banner exchange|^Connection to .* timed out)/u)
  if (late.length > 0) {
    return failure(
      ended.log.stage === 'connect' ? 'CONNECT_TIMEOUT' : 'HANDSHAKE_TIMEOUT',
      ended.log.stage,
      `${there} did not answer in time`,
      "is that port an SSH server's? allow more time with `connectTimeout:` or --timeout",
    )
  }
  return failure(
    'HANDSHAKE_FAILED',
    'host key',
    `${there} ended the SSH handshake: ${ended.log.lastLine ?? 'ssh said nothing'}${insteadOfIdent(ended)}`,
    `is that port an SSH server's? one that is too busy (MaxStartups, PerSourcePenalties) hangs up like this too; see ssh -v ${ended.words}`,
  )
}

const insteadOfIdent = ({ log: { serverSpoke, greeting } }: Ended): string =>
  serverSpoke || greeting === '' ? '' : `; it said: ${greeting}`

const CONNECT: Readonly<Record<string, [ErrorCode, string]>> = {
  'Connection refused': [
    'CONNECT_REFUSED',
    'is sshd running there (there: systemctl status ssh), and is the port right?',
  ],
  'Connection timed out': [
    'CONNECT_TIMEOUT',
    'is the machine up? a firewall may drop what is sent to that port',
  ],
  'Operation timed out': [
    'CONNECT_TIMEOUT',
    'is the machine up? a firewall may drop what is sent to that port',
  ],
}

/** ssh did not even start: it does not understand its configuration, or may not read it. */
const explainStart = (ended: Ended): DproxyError | undefined => {
  const [why] = find(
    ended.log,
    /^(.*(?:Bad configuration option|Bad owner or permissions|bad configuration options|Unsupported option|jumphost loop).*)$/iu,
  )
  if (why === undefined) return undefined
  return failure(
    'RESOLVE_FAILED',
    'resolve',
    `ssh does not take its configuration: ${why}`,
    `see what it says: ssh -G ${ended.words}`,
  )
}

/** The server was never heard, and what ssh talked to was not the server. */
const explainProxy = (ended: Ended): DproxyError | undefined => {
  const { resolved, log } = ended
  if (resolved.route.kind === 'direct' || log.serverSpoke) return undefined
  // ssh itself only knows that it heard nothing; why is what was said before that.
  const why = log.lines.findLast(
    (line) =>
      !/^(?:kex_exchange_identification|ssh_exchange_identification|banner exchange|Connection (?:closed|reset|to|timed))/u.test(
        line,
      ),
  )
  const through = resolved.route.kind === 'jump' ? 'the jump host' : 'the proxy command'
  const hint =
    resolved.route.kind === 'jump'
      ? 'dproxy cannot ask for passwords or keys of jump hosts under `transport: openssh`: ssh must reach them by itself'
      : 'run the proxy command by hand'
  return failure(
    'PROXY_FAILED',
    'connect',
    `${through} did not lead to ${address(resolved)}: ${why ?? log.lastLine ?? 'it said nothing'}`,
    `${hint}; see ssh -v ${ended.words}`,
  )
}

const failure = (code: ErrorCode, stage: Stage, message: string, hint: string): DproxyError =>
  new DproxyError(code, message, { stage, hint })
