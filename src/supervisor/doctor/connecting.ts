import { asDproxyError, errnoOf, type DproxyError, type Stage } from '../../base/errors.js'
import type { Fact } from '../../ssh/lane-options.js'
import type { Resolved } from '../../ssh/target.js'
import type { Examination, OpenStage } from './examination.js'

/** The stages that one call of `openLane` goes through, in order. */
const STEPS = ['name', 'connect', 'banner', 'host key', 'login'] as const
type Step = (typeof STEPS)[number]

const STEP_OF: Readonly<Record<Fact['stage'], Step>> = {
  socket: 'name',
  resolve: 'name',
  connect: 'connect',
  banner: 'banner',
  'host key': 'host key',
  login: 'login',
  engine: 'login',
}

/** Follows one attempt to connect and to log in, and reports each stage of it when the next one begins. */
export class Connecting {
  readonly #exam: Examination
  #open: OpenStage & { readonly stage: Step }
  /** Whether somebody else speaks SSH, who tells less. */
  #bySystem: boolean
  #behindJump = false

  constructor(exam: Examination, transport: 'auto' | 'ssh2' | 'openssh') {
    this.#exam = exam
    this.#bySystem = transport === 'openssh'
    this.#open = this.#begin('name')
    if (this.#bySystem) this.#open.notes.fact("goes through the system's ssh, as configured")
  }

  readonly onResolved = ({ route, onlyOpenssh }: Resolved): void => {
    this.#bySystem ||= onlyOpenssh !== null
    this.#behindJump = route.kind === 'jump' && !this.#bySystem
  }

  readonly onStage = (stage: Stage): void => {
    if (stage === 'connect') this.#behindJump = false
    // Our own SSH begins with reading what the server calls itself.
    this.#reach(stage === 'host key' && !this.#bySystem ? 'banner' : STEP_OF[stage])
  }

  readonly onFact = ({ stage, text }: Fact): void => {
    this.#reach(STEP_OF[stage])
    this.#open.notes.fact(text)
    // RFC 4253 section 4.2: with its identification the server has said what it had to say.
    if (stage === 'banner' && text.startsWith('SSH-')) this.#reach('host key')
  }

  /** We are in. */
  pass(why: string | null): void {
    this.#reach('login')
    if (why !== null && !this.#bySystem) this.#open.notes.fact(`goes through the system's ssh: ${why}`)
    this.#open.pass()
  }

  fail(thrown: unknown): void {
    const failure = asDproxyError(thrown)
    const step = this.#failedAt(failure)
    const current = this.#open.stage
    // What was not even begun when a later stage failed: the host keys are read before anything is dialled.
    this.#exam.skip(STEPS.slice(indexOf(current), indexOf(step)))
    if (step !== current) this.#open = this.#begin(step)
    for (const text of attemptsOf(failure)) this.#open.notes.fact(text)
    this.#open.fail(failure)
    this.#exam.skip(STEPS.slice(indexOf(step) + 1))
  }

  #failedAt({ code, stage }: DproxyError): Step {
    const current = this.#open.stage
    // A jump host's own host key and login are part of the way to the target.
    if (this.#behindJump && current !== 'name') return 'connect'
    const isBefore = code.startsWith('HANDSHAKE') || code === 'LOGIN_THROTTLED'
    const own = stage === undefined || isBefore ? current : STEP_OF[stage]
    return indexOf(own) > indexOf(current) ? own : current
  }

  #reach(step: Step): void {
    const current = indexOf(this.#open.stage)
    if (indexOf(step) <= current) return
    this.#open.pass()
    for (const passed of STEPS.slice(current + 1, indexOf(step))) {
      const open = this.#begin(passed)
      open.notes.fact("seen to by the system's ssh")
      open.pass()
    }
    this.#open = this.#begin(step)
  }

  #begin(step: Step): OpenStage & { readonly stage: Step } {
    return { ...this.#exam.begin(step), stage: step }
  }
}

const indexOf = (step: Step): number => STEPS.indexOf(step)

/** What became of each address, where several were tried. */
const attemptsOf = ({ cause }: DproxyError): string[] =>
  cause instanceof AggregateError
    ? cause.errors.flatMap((each: unknown) => {
        const address = each instanceof Error && 'address' in each ? String(each.address) : undefined
        return address === undefined ? [] : [`${address}: ${errnoOf(each) ?? 'no answer'}`]
      })
    : []
