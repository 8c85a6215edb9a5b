/**
 * Failures a user can meet. Each has a code for programs, a sentence for people, and a next step.
 * Anything thrown that is not a DproxyError is a defect of ours.
 */

/** Every code, with the exit code of the command line it leads to. */
const EXIT_OF = {
  USAGE: 2,
  CONFIG_INVALID: 2,
  CONFIG_MISSING: 2,
  HOST_UNKNOWN: 2,
  HOST_PROTECTED: 2,
  SOCKET_PATH_TOO_LONG: 2,
  NOT_SUPPORTED: 2,
  SOCKET_BUSY: 1,
  SOCKET_FAILED: 1,
  OUTPUT_FAILED: 1,
  RESOLVE_FAILED: 1,
  CONNECT_REFUSED: 1,
  CONNECT_FAILED: 1,
  CONNECT_TIMEOUT: 1,
  PROXY_FAILED: 1,
  HANDSHAKE_FAILED: 1,
  HANDSHAKE_TIMEOUT: 1,
  LOGIN_TIMEOUT: 1,
  HOST_KEY_UNKNOWN: 4,
  HOST_KEY_CHANGED: 4,
  HOST_KEY_REVOKED: 4,
  HOST_KEY_UNREADABLE: 4,
  HOST_KEY_UNPROVEN: 4,
  HOST_KEY_NOT_STORED: 4,
  LOGIN_REFUSED: 4,
  LOGIN_KEY_FILE: 4,
  LOGIN_PASSPHRASE: 4,
  LOGIN_NEEDS_PERSON: 4,
  LOGIN_UNSUPPORTED: 4,
  LINK_LOST: 1,
  LINK_DOWN: 1,
  ENGINE_SOCKET_MISSING: 1,
  ENGINE_SOCKET_DENIED: 1,
  ENGINE_DOWN: 1,
  ENGINE_TIMEOUT: 1,
  ENGINE_UNREACHABLE: 1,
  FORWARDING_FORBIDDEN: 1,
  SESSION_LIMIT: 1,
  LOGIN_THROTTLED: 1,
  TOO_MANY_CLIENTS: 1,
  CONFIG_CHANGED: 1,
  SECRET_MISSING: 1,
  SECRET_STORE_LOCKED: 1,
  SECRET_STORE_FAILED: 1,
  QUESTION_UNKNOWN: 1,
  HOST_CRASHED: 1,
  SUPERVISOR_DOWN: 5,
  SUPERVISOR_SKEW: 5,
  SUPERVISOR_FAILED: 5,
  REQUEST_INVALID: 1,
  STREAM_UNKNOWN: 1,
  STOPPED: 1,
  INTERRUPTED: 130,
  INTERNAL: 1,
} as const

export type ErrorCode = keyof typeof EXIT_OF
export type ExitCode = number

export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(EXIT_OF, code)

/** The part of bringing a host up that a failure belongs to, in the order they happen. */
export const STAGES = ['socket', 'resolve', 'connect', 'host key', 'login', 'engine'] as const
export type Stage = (typeof STAGES)[number]

export interface ErrorDetails {
  /** What to do next, a sentence or a command. */
  hint?: string | undefined
  stage?: Stage | undefined
  cause?: unknown
  /** How long the other side wants to be left in peace before the next try, milliseconds. */
  retryAfterMs?: number | undefined
}

/** An expected failure. `message` says what, where and why; `hint` what to do next. */
export class DproxyError extends Error {
  override readonly name = 'DproxyError'
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly stage: Stage | undefined
  readonly retryAfterMs: number | undefined

  constructor(code: ErrorCode, message: string, { hint, stage, cause, retryAfterMs }: ErrorDetails = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.hint = hint
    this.stage = stage
    this.retryAfterMs = retryAfterMs
  }
}

/** The exit code that a failure of this code leads to (see the README's table). */
export const exitCodeOf = (code: ErrorCode): ExitCode => EXIT_OF[code]

/** Promise 5: what only the user can mend is never tried again by itself. */
export const needsUser = (code: ErrorCode): boolean =>
  EXIT_OF[code] === 4 || EXIT_OF[code] === 2 || code === 'SOCKET_BUSY' || code === 'HOST_CRASHED'

/** Any thrown thing as a DproxyError; what we did not foresee becomes INTERNAL, its message kept. */
export const asDproxyError = (thrown: unknown): DproxyError =>
  thrown instanceof DproxyError
    ? thrown
    : new DproxyError('INTERNAL', thrown instanceof Error ? thrown.message : String(thrown), {
        cause: thrown,
      })

/** The errno name (`ECONNREFUSED`) of a system error, else undefined. */
export const errnoOf = (thrown: unknown): string | undefined =>
  thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined
