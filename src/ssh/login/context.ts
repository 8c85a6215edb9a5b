import type { Ask, StoredSecrets } from '../person.js'
import type { Resolved } from '../target.js'
import type { Story } from './story.js'
import type { UnlockedKeys } from './unlocked-keys.js'
import type { Waiting } from './waiting.js'

/** What a login may draw on beside files. */
export interface LoginHelp {
  /** The caller's SSH_AUTH_SOCK. */
  readonly agentSocket: string | null
  /** Null: nobody can be asked. */
  readonly ask: Ask | null
  readonly secrets: StoredSecrets
  /** What was unlocked before, and where what is unlocked now goes. */
  readonly unlocked: UnlockedKeys
}

/** What every method of one login shares. */
export interface Context {
  readonly resolved: Resolved
  readonly help: LoginHelp
  readonly story: Story
  readonly waiting: Waiting
  /** Aborts when the login is over, however it ended. */
  readonly signal: AbortSignal
}
