import { DproxyError } from '../../../base/errors.js'
import { formatDuration } from '../../../base/duration.js'
import { count } from '../../../base/text.js'
import { where, type Resolved } from '../../target.js'
import type { Command } from './commands.js'
import { howItEnded } from './complaint.js'

/** Why it is a command that carries the streams, as a clause: what `failure` says of sshd, and the command's flaw. */
export const whyNotStreamlocal = (failure: DproxyError, { flaw }: Command): string => {
  const why =
    failure.code === 'FORWARDING_FORBIDDEN'
      ? 'sshd there forbids forwarding to Unix sockets'
      : 'sshd there could not open the socket itself'
  return flaw === null ? why : `${why}; ${flaw}`
}

/**
 * The refusal of streamlocal that no command makes up for. `failed`: how each that is there failed, as a clause;
 * none: there is none.
 */
export const noWayRound = (failure: DproxyError, failed: readonly string[]): DproxyError => {
  const { code, message, hint, stage, cause } = failure
  // A command is there, and what it found is the same: that is the cause.
  if (failed.length > 0 && code === 'ENGINE_DOWN') return failure
  const other =
    failed.length > 0
      ? `; ${failed.join('; ')}`
      : ", or let Docker's command line, socat or nc (netcat-openbsd) be installed there: dproxy goes through any of them"
  return new DproxyError(code, message, { hint: `${hint ?? ''}${other}`, stage, cause })
}

/** A command that carried a stream did not end well. */
export const commandFailed = (
  resolved: Resolved,
  { method }: Command,
  exit: number | string | null,
  complaint: string,
): DproxyError =>
  new DproxyError('ENGINE_UNREACHABLE', `${method} on ${where(resolved)} ${howItEnded(exit, complaint)}`, {
    stage: 'engine',
    hint: 'does the engine run there (systemctl status docker)? the stream went through that command, as sshd there does not forward to it',
  })

/** A command connects, but an engine never answers. */
export const engineSilent = (resolved: Resolved, path: string, limitMs: number): DproxyError =>
  new DproxyError(
    'ENGINE_TIMEOUT',
    `the Docker engine behind ${path} on ${where(resolved)} did not answer within ${formatDuration(limitMs)}`,
    { stage: 'engine', hint: 'it may be overloaded or stuck: look at it there with `docker version`' },
  )

/** sshd starts no command for us. */
export const commandRefused = (resolved: Resolved, { method }: Command, cause: Error): DproxyError =>
  new DproxyError('ENGINE_UNREACHABLE', `sshd on ${where(resolved)} does not start ${method}`, {
    stage: 'engine',
    hint: 'has ForceCommand or the key there been changed? sshd there neither forwards to Unix sockets',
    cause,
  })

/** MaxSessions (sshd_config(5)): each stream over a command is a session. `open`: how many we have. */
export const sessionLimit = (resolved: Resolved, open: number, cause: unknown): DproxyError => {
  const taken = open === 0 ? 'no session' : `no more than ${count(open, 'session')}`
  return new DproxyError(
    'SESSION_LIMIT',
    `sshd on ${where(resolved)} allows ${taken} in one connection now, and each stream takes one`,
    {
      stage: 'engine',
      hint: 'let sshd_config there say AllowStreamLocalForwarding yes, or raise MaxSessions there; or allow more connections here with `lanes:`',
      cause,
    },
  )
}
