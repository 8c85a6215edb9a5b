import type { Rule } from '../testbed/gate.js'
import type { End, StartOptions } from './cut-client.js'
import type { CutScene } from './cut.js'

/** How far a command has come when it is cut. */
export const STAGES = [
  'while the link is down',
  'before its channel',
  'before its answer',
  'inside its answer',
  'in its upload',
  'after its input ended',
] as const
export type Stage = (typeof STAGES)[number]

/** What the commands of one scene work on. */
export interface Stock {
  readonly scene: CutScene
  /** Containers: one to run things in, one that prints without end, one that takes long to stop. */
  readonly box: string
  readonly ticker: string
  readonly stubborn: string
  /** A file on this side, an archive of an image, and what both are known by. */
  readonly file: string
  readonly sum: string
  readonly archive: Uint8Array
  readonly imageId: string
  /** A directory to build from. */
  readonly context: string
  /** `127.0.0.1:port` of a registry that never hands a layer out. */
  readonly registry: string
}

export interface Command {
  readonly name: string
  /** docker's words; `id` is a name for what this client makes. */
  readonly words: (stock: Stock, id: string) => readonly string[]
  /** The request whose answer is its result. */
  readonly asks: RegExp
  /** The one before, when `asks` has a channel of its own. */
  readonly after?: RegExp
  readonly stages: readonly Stage[]
  /** Makes what this client works on, past all that is tested. */
  readonly prepare?: (stock: Stock, id: string) => Promise<unknown>
  readonly options?: (stock: Stock) => StartOptions
  /** Bytes of its answer that are not all of it; for an answer that does not last by itself. */
  readonly part?: number
  /** It prints nothing while it lasts. */
  readonly silent?: true
  /** Whether its work is done whole, seen at the engine; never while the scene lasts unless told. */
  readonly done?: (stock: Stock, id: string, end: End) => Promise<boolean>
}

/** How to find, or bring about, that a command is at a stage. */
export const ruleFor = ({ asks, after, part }: Command, stage: Stage): Rule => {
  switch (stage) {
    case 'while the link is down':
      return { request: NEVER }
    case 'before its channel':
      return { request: after ?? NEVER, downTo: 0 }
    case 'before its answer':
      return { request: asks, downTo: 0 }
    case 'inside its answer':
      return part === undefined ? { request: asks } : { request: asks, downTo: part }
    case 'in its upload':
      return { request: asks, upTo: 100_000, downTo: 0 }
    case 'after its input ended':
      return part === undefined ? { request: asks } : { request: asks, downTo: 0 }
    default:
      return stage satisfies never
  }
}

const NEVER = /^$/u
