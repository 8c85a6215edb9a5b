import type { Failure } from '../control/messages.js'
import type { DproxyError } from '../base/errors.js'

/** An error as it crosses the control socket: no cause, no stack. */
export const failureOf = ({ code, message, hint, stage }: DproxyError): Failure => ({
  code,
  message,
  hint: hint ?? null,
  stage: stage ?? null,
})
