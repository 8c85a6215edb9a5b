import type { Resolved } from '../target.js'
import type { SshLog } from './ssh-log.js'

/** What a failed `ssh` is explained by. */
export interface Ended {
  readonly resolved: Resolved
  readonly log: SshLog
  /** The same login as words after `ssh`, to try by hand. */
  readonly words: string
}

/** What the first group of `pattern` holds in each line of `log` that fits, the last one first. */
export const find = ({ lines }: SshLog, pattern: RegExp): string[] =>
  lines
    .map((line) => pattern.exec(line)?.[1])
    .filter((found) => found !== undefined)
    .toReversed()
