import pLimit, { type LimitFunction } from 'p-limit'

// sshd drops connections at random once more than ten wait for their login (sshd_config(5), MaxStartups
// 10:30:100). Several hosts can stand behind one address: a jump host, a test machine, a NAT.
const LOGINS_AT_ONCE = 6

/** Lets only a few logins at once through to any one address, and makes no two addresses wait for each other. */
export class AddressGate {
  readonly #limits = new Map<string, LimitFunction>()

  async through<T>(name: string, login: () => Promise<T>): Promise<T> {
    const limit = this.#limits.get(name) ?? pLimit(LOGINS_AT_ONCE)
    this.#limits.set(name, limit)
    try {
      return await limit(login)
    } finally {
      if (limit.activeCount === 0 && limit.pendingCount === 0) this.#limits.delete(name)
    }
  }
}
