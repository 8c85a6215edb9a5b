import type { Duplex } from 'node:stream'

/** What a link needs of an SSH connection; `Lane` of src/ssh is one. */
export interface LinkLane {
  /** Aborts with a DproxyError when the connection is over, before its streams are destroyed. */
  readonly lost: AbortSignal
  /** Milliseconds since the server last sent a byte. */
  readonly silentMs: number
  /** The last measured round trip in milliseconds; null before the first. */
  readonly rttMs: number | null
  readonly openStreams: number
  openStream(path: string, signal: AbortSignal): Promise<Duplex>
  ping(limitMs: number, signal: AbortSignal): Promise<number>
  close(reason?: string): void
}
