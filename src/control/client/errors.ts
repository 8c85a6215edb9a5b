import type { IncomingMessage } from 'node:http'
import { formatDuration } from '../../base/duration.js'
import { DproxyError, errnoOf } from '../../base/errors.js'
import { API_VERSION } from '../messages.js'

/** It did not answer in time. */
export const silent = (path: string, limitMs: number): DproxyError =>
  new DproxyError(
    'SUPERVISOR_FAILED',
    `the supervisor at ${path} did not answer within ${formatDuration(limitMs)}`,
    { hint: 'is it stopped (SIGSTOP) or stuck? end that process, then start your hosts again: dproxy up' },
  )

/** Something else answers there. */
const stranger = (path: string): DproxyError =>
  new DproxyError('SUPERVISOR_SKEW', `what answers at ${path} is not a dproxy supervisor`, {
    hint: 'set DPROXY_RUNTIME_DIR to a directory of your own',
  })

/** What a connection to the control socket failed with, in our words. */
export const unreachable = (path: string, failure: Error): DproxyError => {
  if (failure instanceof DproxyError) return failure
  const errno = errnoOf(failure)
  const details = { cause: failure }
  // llhttp's names for what is not HTTP.
  if (errno?.startsWith('HPE_')) return stranger(path)
  if (errno === 'ENOENT' || errno === 'ECONNREFUSED') {
    return new DproxyError('SUPERVISOR_DOWN', 'no supervisor is running', {
      ...details,
      hint: 'start one: dproxy up NAME',
    })
  }
  if (errno === 'EACCES') {
    return new DproxyError('SUPERVISOR_FAILED', `you may not use the control socket ${path}`, {
      ...details,
      hint: 'it belongs to another user; set DPROXY_RUNTIME_DIR to a directory of your own',
    })
  }
  // Node's whole word for an answer that broke off.
  const how = failure.message === 'aborted' ? '' : `: ${failure.message}`
  return new DproxyError('SUPERVISOR_DOWN', `the supervisor went away${how}`, {
    ...details,
    hint: 'see: dproxy logs',
  })
}

/** It is of another version and has refused what it was asked. */
export const misunderstood = (theirs: string, ours: string, said: string): DproxyError =>
  new DproxyError(
    'SUPERVISOR_SKEW',
    `the running supervisor is dproxy ${theirs} and does not understand this command, which is dproxy ${ours}: ${said}`,
    { hint: 'stop it, then start your hosts again: dproxy down --all' },
  )

/** Why what has answered is not to be talked to; undefined when it speaks our protocol. */
export const versionRefusal = (
  { headers }: IncomingMessage,
  path: string,
  anyVersion: boolean,
): DproxyError | undefined => {
  const api = headers['dproxy-api']
  if (api === undefined) return stranger(path)
  if (anyVersion || api === String(API_VERSION)) return undefined
  const version = String(headers['dproxy-version'])
  return new DproxyError(
    'SUPERVISOR_SKEW',
    `the running supervisor is dproxy ${version} and speaks another protocol (${String(api)}) than this command (${API_VERSION})`,
    { hint: 'stop it, then start your hosts again: dproxy down --all' },
  )
}
