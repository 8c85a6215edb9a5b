import type { NewHost } from '../edit/entry.js'

/** What a source of hosts holds. */
export interface Found {
  /** Hosts under the names they have there, which may be no names of ours. */
  readonly hosts: readonly NewHost[]
  /** What could not be read, each as a sentence. */
  readonly notes: readonly string[]
}
