/**
 * What a login may need beside files and agents: a person who answers, and secrets that were stored before.
 * Both live outside this room; these are the words they speak with it.
 */

/** Something that only a person can answer. */
export interface Question {
  readonly kind: 'host key' | 'passphrase' | 'password' | 'keyboard-interactive'
  /** What is asked, for which server, and why: one or more lines, control characters made visible. */
  readonly text: string
  /** What is to be typed, in order. */
  readonly prompts: readonly Prompt[]
}

export interface Prompt {
  /** One line, control characters made visible. */
  readonly text: string
  /** Whether what is typed may be seen. */
  readonly echo: boolean
}

/**
 * Asks a person. Resolves with one answer for each prompt, or with null when the person declined, or did not
 * answer in time. Rejects only when `signal` aborts.
 */
export type Ask = (question: Question, signal: AbortSignal) => Promise<readonly string[] | null>

/** What is stored for one host's login. Never rejects but by `signal`. */
export interface StoredSecrets {
  /** The passphrase of the private key in `keyFile` (absolute). */
  passphrase(keyFile: string, signal: AbortSignal): Promise<Stored>
  password(signal: AbortSignal): Promise<Stored>
  /** The command line that stores one; null where a command of the config gives it, and no store is looked at. */
  toStore(kind: 'passphrase' | 'password'): string | null
}

export type Stored =
  /** `from` names the place, for messages: `the keychain`, `passphraseCommand (pass)`. */
  | { readonly kind: 'found'; readonly value: string; readonly from: string }
  | { readonly kind: 'none' }
  /**
   * There may be one, but it could not be had: why, as a clause, and what to do. `minor`: nothing that the user
   * has set up is broken, as on a machine that has no keychain; not worth a word to whoever can be asked.
   */
  | { readonly kind: 'problem'; readonly why: string; readonly hint: string; readonly minor?: boolean }
