/** The two hosts of the end-to-end tests, as those who run in other processes need to know them. */

export interface TestHost {
  host: string
  port: number
  user: string
  keyFile: string
  knownHostsFile: string
  /** For dproxy's configuration: a path on the host, or `auto`. */
  remoteSocket: string
  /** The engine's own socket, to look past dproxy; null when the host is another machine. */
  engineSocket: string | null
}

export interface TestHosts {
  /** Made for this run, so that a test may harm them; false: the user's own server. */
  ours: boolean
  prod: TestHost
  staging: TestHost
}

declare module 'vitest' {
  interface ProvidedContext {
    /** null where the parts they are made of are missing: the tests that need them are skipped then. */
    hosts: TestHosts | null
  }
}

export const HOST_NAMES = ['prod', 'staging'] as const
export type HostName = (typeof HOST_NAMES)[number]
