/** What `dproxy doctor` finds out about one host. */
import { printable } from '../../base/text.js'

/** The stages that a host is examined in, in the order they are shown. */
export const DOCTOR_STAGES = [
  'config',
  'key files',
  'agent',
  'name',
  'connect',
  'banner',
  'host key',
  'login',
  'streamlocal',
  'remote socket',
  'engine',
  'version',
  'clock',
  'local socket',
  'docker',
  'supervisor',
] as const
export type DoctorStage = (typeof DOCTOR_STAGES)[number]

export type StageState = 'ok' | 'warning' | 'failed' | 'not reached'

/** What is wrong, and what to do about it. */
export interface Trouble {
  /** A failure's is one of the error codes; a warning may have one of its own. */
  readonly code: string
  readonly message: string
  readonly hint: string | null
}

export interface StageReport {
  readonly stage: DoctorStage
  readonly state: StageState
  /** How long it took; null for a stage that was not reached. */
  readonly ms: number | null
  /** Lines for people, printable. */
  readonly facts: readonly string[]
  /** Set when the stage failed or warns. */
  readonly error: Trouble | null
}

/** What a check writes down while it looks. */
export class Notes {
  readonly facts: string[] = []
  /** The first warning; further ones are facts. */
  warning: Trouble | null = null

  fact(text: string): void {
    this.facts.push(printable(text))
  }

  warn({ code, message, hint }: Trouble): void {
    if (this.warning) this.fact(message)
    else this.warning = { code, message: printable(message), hint: hint && printable(hint) }
  }
}
