import { DproxyError } from '../../base/errors.js'

/**
 * ssh's configuration, or what the host's own entry adds to it, cannot be obeyed, and guessing could be unsafe.
 * Only the user can mend it.
 */
export const notObeyed = (message: string, hint: string, cause?: unknown): DproxyError =>
  new DproxyError('CONFIG_INVALID', message, { stage: 'resolve', hint, cause })

/** It could not be found out in time; the next try may be luckier. */
export const notTold = (message: string, hint: string): DproxyError =>
  new DproxyError('RESOLVE_FAILED', message, { stage: 'resolve', hint })
