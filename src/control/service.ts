import type { LineChannel } from './line-channel.js'
import type {
  DownReply,
  HandOverNews,
  HandOverOrder,
  LogEntry,
  Running,
  Status,
  StreamStatus,
  TakeOverReply,
  UpReply,
  UpRequest,
} from './messages.js'

/** What the control socket gives access to; the supervisor is one. Each call may throw a DproxyError. */
export interface ControlService {
  status(): Status
  up(request: UpRequest): Promise<UpReply>
  down(name: string, drainMs: number): Promise<DownReply>
  answer(questionId: string, answers: readonly string[] | null): void
  restart(name: string, drainMs: number, person: boolean): Promise<DownReply>
  streams(name: string): StreamStatus[]
  cut(streamId: string): void
  recentLogs(): readonly LogEntry[]
  /** Returns the function that ends the subscription. */
  onLog(listener: (entry: LogEntry) => void): () => void
  onChange(listener: () => void): () => void
  shutdown(drainMs: number): Promise<void>
  running(): Running
  /** Takes the place of the supervisor that runs. */
  takeOver(drainMs: number): Promise<TakeOverReply>
  /** Another supervisor is there to take our place; the channel's end ends it, whatever it has come to. */
  handOver(successor: LineChannel<HandOverOrder, HandOverNews>): void
}
