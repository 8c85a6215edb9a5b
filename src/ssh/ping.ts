import type { Client } from 'ssh2'

/** The private members of ssh2 1.17's client: two that sending a global request with a reply takes, and a name. */
interface Internals {
  readonly _callbacks: ((refused: boolean | Error) => void)[]
  readonly _protocol: { ping(): void }
  readonly _remoteVer: string | undefined
}

/** What the server says it runs (RFC 4253 section 4.2), as `OpenSSH_9.2p1`; null before it has said so. */
export const softwareOf = (client: Client): string | null =>
  (client as unknown as Internals)._remoteVer ?? null

/**
 * Sends keepalive@openssh.com and resolves with the round trip in milliseconds; a refusal is an answer too.
 * ssh2 offers no public call for it, and its own keepalive declares busy slow links dead (its counter ignores
 * arriving data, lib/client.js), so its version is pinned and a test fails when these members change.
 * Rejects when the connection ends first; stays pending on one that has ended before.
 */
export const ping = (client: Client): Promise<number> =>
  new Promise((resolve, reject) => {
    const internals = client as unknown as Internals
    const started = performance.now()
    try {
      // Replies to global requests come in order (RFC 4254 section 4): one callback for each request sent.
      // An Error in place of a refusal is ssh2's own word for "the connection is gone".
      internals._callbacks.push((refused) => {
        if (refused instanceof Error) reject(refused)
        else resolve(performance.now() - started)
      })
      internals._protocol.ping()
    } catch (failure) {
      reject(failure)
    }
  })
