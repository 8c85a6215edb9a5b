import { runtimeDir, type Env } from '../../base/paths.js'
import { placeText } from '../../base/ssh-url.js'
import type { HostDefinition } from '../../control/messages.js'
import type { UnlockedKeys } from '../../ssh/login/unlocked-keys.js'
import type { Ask } from '../../ssh/person.js'
import { where } from '../../ssh/target.js'
import type { AddressGate } from '../address-gate.js'
import type { Attempt } from '../link/attempts.js'
import type { LinkLane } from '../link/link-lane.js'
import { openPool } from '../lanes/open-pool.js'
import { storedSecretsOf } from '../stored-secrets.js'

export interface LaneOpenerOptions {
  readonly definition: HostDefinition
  readonly agentSocket: string | null
  readonly env: Env
  readonly gate: AddressGate
  /** The keys that a passphrase has opened, for every host that uses them. */
  readonly unlocked: UnlockedKeys
  /** What the first try waits for, or fails with. */
  readonly beforeFirstTry?: ((signal: AbortSignal) => Promise<void>) | undefined
  /** Asks a person, where one waits. */
  readonly ask: Ask
  /** Hears, in a sentence, that a further connection has come, gone, or could not be opened. */
  readonly onChange: (sentence: string) => void
}

/** Opens the connections of one host, one after the other, and keeps what became known on the way. */
export class LaneOpener {
  readonly #options: LaneOpenerOptions
  /** The agent asked for keys from now on. */
  agentSocket: string | null
  #ssh: string
  #beforeTry: ((signal: AbortSignal) => Promise<void>) | undefined
  #engineSocket: string | undefined

  constructor(options: LaneOpenerOptions) {
    this.#options = options
    this.agentSocket = options.agentSocket
    this.#ssh = placeText(options.definition)
    this.#beforeTry = options.beforeFirstTry
  }

  /** `user@host:port`, as resolved the last time. */
  get ssh(): string {
    return this.#ssh
  }

  /** The engine's socket there; `auto` while it has to be found. */
  get remoteSocket(): string {
    return this.#engineSocket ?? this.#options.definition.remoteSocket
  }

  /**
   * The engine was found there. A link that is made again while that engine restarts must not settle on another
   * one, and would, as whoever has to find an engine takes one that listens.
   */
  keepTo(engineSocket: string): void {
    this.#engineSocket ??= engineSocket
  }

  /** @throws DproxyError of the stage that failed */
  async open({ signal, onStage, person }: Attempt): Promise<LinkLane> {
    const before = this.#beforeTry
    this.#beforeTry = undefined
    await before?.(signal)
    const { definition, env, gate, unlocked, ask: askPerson, onChange } = this.#options
    return openPool(
      { ...definition, remoteSocket: this.remoteSocket },
      {
        ask: person ? askPerson : null,
        optionsFor: (ask) => ({
          agentSocket: this.agentSocket,
          env,
          runDir: runtimeDir(env),
          ask,
          secretsOf: (hop) => storedSecretsOf(definition, hop, { env, ask }),
          unlocked,
          signal,
          onStage,
          onResolved: (resolved) => {
            this.#ssh = where(resolved)
          },
          throttle: (name, work) => gate.through(name, work, signal),
        }),
        onChange,
      },
    )
  }
}
