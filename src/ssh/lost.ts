import { formatDuration } from '../base/duration.js'
import { DproxyError } from '../base/errors.js'
import { printable } from '../base/text.js'
import { address, where, type Resolved } from './target.js'

/** Why a connection is over. `said` may be the server's own word (RFC 4253 section 11.1). */
export const lostBecause = (resolved: Resolved, said: string): DproxyError =>
  new DproxyError('LINK_LOST', `the SSH connection to ${where(resolved)} was lost: ${printable(said)}`, {
    hint: 'it is made again by itself',
  })

/** Why a sign of life was not waited for any longer. */
export const silentFor = (resolved: Resolved, ms: number): DproxyError =>
  new DproxyError('LINK_LOST', `${address(resolved)} has been silent for ${formatDuration(ms)}`)
