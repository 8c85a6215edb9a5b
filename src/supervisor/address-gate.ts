import pLimit, { type LimitFunction } from 'p-limit'
import { deferred } from '../base/deferred.js'

// sshd drops connections at random once more than ten wait for their login (sshd_config(5), MaxStartups
// 10:30:100). Several hosts can stand behind one address: a jump host, a test machine, a NAT.
const LOGINS_AT_ONCE = 6

/** Lets only a few logins at once through to any one address, and makes no two addresses wait for each other. */
export class AddressGate {
  readonly #limits = new Map<string, LimitFunction>()

  /** Rejects at once when `signal` aborts while `login` still waits for its turn, or has before. */
  async through<T>(name: string, login: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    const limit = this.#limits.get(name) ?? pLimit(LOGINS_AT_ONCE)
    this.#limits.set(name, limit)
    const left = deferred<never>()
    const leave = () => left.reject(signal.reason)
    signal.addEventListener('abort', leave, { once: true })
    const mine = limit(() => {
      // From here on the login itself hears the signal, and cleans up after itself.
      signal.removeEventListener('abort', leave)
      signal.throwIfAborted()
      return login()
    }).finally(() => {
      if (limit.activeCount === 0 && limit.pendingCount === 0) this.#limits.delete(name)
    })
    return Promise.race([mine, left.promise])
  }
}
