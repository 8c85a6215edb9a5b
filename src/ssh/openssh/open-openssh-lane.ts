import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { formatDuration } from '../../base/duration.js'
import { DproxyError, type Stage } from '../../base/errors.js'
import type { Env } from '../../base/paths.js'
import { unless } from '../../base/timeout.js'
import { address, where, type Resolved, type Target } from '../target.js'
import { Carrier, NotListening, NotProxying } from './carrier.js'
import { explain } from './explain.js'
import { CONTROL_SOCKET, makeLaneDir, removeLaneDir } from './lane-dir.js'
import { OpensshLane } from './openssh-lane.js'
import { SshLog } from './ssh-log.js'
import { SshProcess } from './ssh-process.js'
import { sshVersion } from './ssh-version.js'
import { sshEnvironment, sshWords, typedWords } from './ssh-words.js'

export interface OpensshOptions {
  /** Why it is not dproxy itself that speaks SSH, as a clause; null: because the user wants it so. */
  readonly why: string | null
  /** The caller's environment; SSH_AUTH_SOCK in it is the agent that ssh asks. */
  readonly env: Env
  /** A directory of our own, 0700: the control socket lives in a fresh one below it. */
  readonly runDir: string
  readonly signal: AbortSignal
  /** Hears each stage as it begins. */
  readonly onStage: (stage: Stage) => void
}

/**
 * Opens one SSH connection through the system's `ssh`, for what ssh2 cannot do. How to reach the host, which
 * key it must show and how to log in is ssh's own business; it asks nobody anything. Each stage has the limit
 * `resolved.connectTimeoutMs`, `connect` once for each address.
 * @throws DproxyError of the stage that failed; NOT_SUPPORTED when there is no `ssh`, or one that is too old
 */
export const openOpensshLane = async (
  resolved: Resolved,
  target: Target,
  options: OpensshOptions,
): Promise<OpensshLane> => {
  const { why, env, runDir, signal } = options
  const words = sshWords(target, resolved, env, await sshVersion(env, signal))
  const dir = await makeLaneDir(runDir)
  try {
    signal.throwIfAborted()
  } catch (failure) {
    await removeLaneDir(dir)
    throw failure
  }
  const clock = new StageClock(resolved.connectTimeoutMs, options.onStage)
  const log = new SshLog((stage) => clock.begin(stage))
  const ssh = SshProcess.start({ words, dir, env: sshEnvironment(target, resolved, env), onSaid: log.hear })
  try {
    const carrier = await loggedIn(ssh, join(dir, CONTROL_SOCKET), AbortSignal.any([signal, clock.late]))
    if (!carrier) throw explain({ resolved, log, words: typedWords(target, resolved, env) })
    return new OpensshLane({ resolved, why, ssh, log, carrier })
  } catch (failure) {
    ssh.stop()
    await ssh.gone
    throw failure === clock.late.reason ? late(resolved, log.stage) : failure
  } finally {
    clock.stop()
  }
}

/** Waits until ssh listens at its control socket, which it does once it has logged in; undefined when it ends. */
const loggedIn = async (ssh: SshProcess, path: string, signal: AbortSignal): Promise<Carrier | undefined> => {
  const ended = new AbortController()
  void ssh.ended.then(() => ended.abort())
  const over = [signal, ended.signal]
  while (!ended.signal.aborted) {
    try {
      return await unless(over, Carrier.open(path, AbortSignal.any(over)))
    } catch (failure) {
      signal.throwIfAborted()
      if (ended.signal.aborted) break
      if (failure instanceof NotProxying) throw tooOld(failure)
      if (!(failure instanceof NotListening)) throw failure
    }
    await unless(over, sleep(ASK_AGAIN_MS)).catch(() => undefined)
    signal.throwIfAborted()
  }
  return undefined
}

const ASK_AGAIN_MS = 20

/** Gives each stage its time. */
class StageClock {
  readonly #limitMs: number
  readonly #onStage: (stage: Stage) => void
  readonly #late = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #current: Stage | undefined

  constructor(limitMs: number, onStage: (stage: Stage) => void) {
    this.#limitMs = limitMs
    this.#onStage = onStage
    this.begin('connect')
  }

  /** Aborts when a stage has taken too long. */
  get late(): AbortSignal {
    return this.#late.signal
  }

  /** A stage begins, or begins anew with the host's next address. */
  begin(stage: Stage): void {
    clearTimeout(this.#timer)
    // A little more than ssh's own limit, so that it can go on to the host's next address.
    this.#timer = setTimeout(() => this.#late.abort(), this.#limitMs + GRACE_MS)
    if (stage !== this.#current) this.#onStage(stage)
    this.#current = stage
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}

const GRACE_MS = 250

const late = (resolved: Resolved, stage: Stage): DproxyError => {
  const limit = formatDuration(resolved.connectTimeoutMs)
  const longer = 'allow more time with `connectTimeout:` or --timeout'
  if (stage === 'login') {
    return new DproxyError('LOGIN_TIMEOUT', `${where(resolved)} did not finish the login within ${limit}`, {
      stage,
      hint: `does a security key wait for a touch, or the agent for a confirmation? ${longer}`,
    })
  }
  return stage === 'host key'
    ? new DproxyError(
        'HANDSHAKE_TIMEOUT',
        `${address(resolved)} did not finish the SSH handshake within ${limit}`,
        { stage, hint: `is that port an SSH server's? ${longer}` },
      )
    : new DproxyError(
        'CONNECT_TIMEOUT',
        `cannot connect to ${address(resolved)}: no answer within ${limit}`,
        {
          stage,
          hint: `is the machine up? a firewall may drop what is sent to that port; ${longer}`,
        },
      )
}

const tooOld = (cause: unknown): DproxyError =>
  new DproxyError('NOT_SUPPORTED', 'the installed ssh cannot carry streams through its control socket', {
    stage: 'login',
    hint: 'OpenSSH 7.4 or newer is needed; or set `transport: ssh2`',
    cause,
  })
