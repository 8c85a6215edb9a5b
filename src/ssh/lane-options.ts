import type { Stage } from '../base/errors.js'
import type { Env } from '../base/paths.js'
import type { UnlockedKeys } from './login/unlocked-keys.js'
import type { Ask, StoredSecrets } from './person.js'
import type { Hop, Resolved } from './target.js'

/** Something that became known on the way, for a person who looks for what is wrong. */
export interface Fact {
  /** `banner`: what the server says before the key exchange (RFC 4253 section 4.2). */
  readonly stage: Stage | 'banner'
  /** One printable line. */
  readonly text: string
}

/** What opening a connection needs beside its target. */
export interface LaneOptions {
  /** The agent socket to ask for keys; null for none. */
  readonly agentSocket: string | null
  readonly env: Env
  /** A directory of our own, 0700, for what must not outlive the connection. */
  readonly runDir: string
  /** Asks a person; null when nobody is there to answer. */
  readonly ask: Ask | null
  /** What is stored for the login to the target (null) or to one of its jump hosts. */
  readonly secretsOf: (hop: Hop | null) => StoredSecrets
  readonly unlocked: UnlockedKeys
  /** Hears each stage as it begins. */
  readonly onStage: (stage: Stage) => void
  /** Hears where the target turned out to be, before anything is dialled. */
  readonly onResolved: (resolved: Resolved) => void
  /** Hears what becomes known, as it does; never a secret. */
  readonly onFact?: ((fact: Fact) => void) | undefined
  /** Runs the login to one address, when its turn has come. */
  readonly throttle: <T>(name: string, login: () => Promise<T>) => Promise<T>
  readonly signal: AbortSignal
}
