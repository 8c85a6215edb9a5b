import { DproxyError } from '../../base/errors.js'

/** What every failure of this folder is: ssh's configuration cannot be obeyed, and guessing could be unsafe. */
export const resolveFailed = (message: string, hint: string, cause?: unknown): DproxyError =>
  new DproxyError('RESOLVE_FAILED', message, { stage: 'resolve', hint, cause })
