/**
 * Everything that crosses the control socket, as zod schemas: checked on arrival, trusted after.
 * The types are inferred from them. Bytes and totals are counts of bytes; times are ISO 8601 or milliseconds,
 * as the name says.
 */
import { z } from 'zod'
import { STAGES } from '../base/errors.js'

/** The control protocol. A supervisor and a command line that differ here do not talk to each other. */
export const API_VERSION = 1
/** The version of every JSON document we print. */
export const SCHEMA_VERSION = 1

const milliseconds = z.int().min(1).max(86_400_000)
const hop = z.strictObject({
  destination: z.string().min(1).max(255),
  user: z.string().min(1).max(255).nullable(),
  port: z.int().min(1).max(65_535).nullable(),
})
const words = z.array(z.string().max(4096)).min(1).max(100)
const path = z.string().startsWith('/').max(4096)

/** Everything the supervisor needs to serve one host; what the registry makes of a config entry. */
export const HostDefinition = z.strictObject({
  name: z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/u),
  /** What the user types to mean it: its name, or the address of a host that is in no file. */
  typed: z.string().min(1).max(1024),
  /** The host name, address or ssh_config alias, as the user wrote it. */
  destination: z.string().min(1).max(255),
  /** null: what ssh's own configuration says, else the local user's name. */
  user: z.string().min(1).max(255).nullable(),
  /** null: what ssh's own configuration says, else 22. */
  port: z.int().min(1).max(65_535).nullable(),
  /** Private key files in the order to try; empty: what ssh's own configuration says. */
  identityFiles: z.array(path),
  /** Offer only the keys of `identityFiles`, even when an agent holds more. */
  identitiesOnly: z.boolean(),
  /** known_hosts files; null: what ssh's own configuration says. */
  knownHostsFiles: z.array(path).nullable(),
  /** The Docker engine's socket on the remote machine. */
  remoteSocket: z.union([path, z.literal('auto')]),
  /** The local socket that stands for it. */
  socket: path,
  /** The hosts to jump through, in order; empty: none; null: what ssh's own configuration says. */
  proxyJump: z.array(hop).nullable(),
  /** Commands are a program and its words; no shell reads them. */
  proxyCommand: words.nullable(),
  passphraseCommand: words.nullable(),
  passwordCommand: words.nullable(),
  secretStore: z.enum(['keychain', 'file']),
  transport: z.enum(['auto', 'ssh2', 'openssh']),
  /** null: what ssh's own configuration says, else 10 s. */
  connectTimeoutMs: milliseconds.nullable(),
  /** The most SSH connections to keep; null: 4. */
  lanes: z.int().min(1).max(16).nullable(),
  /** null: what ssh's own configuration says, else 3 times 15 s. */
  keepAlive: z.strictObject({
    intervalMs: milliseconds.nullable(),
    misses: z.int().min(1).max(100).nullable(),
  }),
  protected: z.boolean(),
  description: z.string().nullable(),
  tags: z.array(z.string()),
})
export type HostDefinition = z.infer<typeof HostDefinition>

export const HOST_STATES = ['stopped', 'idle', 'connecting', 'up', 'retrying', 'failed', 'draining'] as const
export type HostState = (typeof HOST_STATES)[number]

/** A failure as it crosses the socket. */
export const Failure = z.object({
  code: z.string(),
  message: z.string(),
  hint: z.string().nullable(),
  stage: z.enum(STAGES).nullable(),
})
export type Failure = z.infer<typeof Failure>

/** Something that a host's login waits for and only a person can answer. */
export const Question = z.object({
  id: z.string(),
  kind: z.enum(['host key', 'passphrase', 'password', 'keyboard-interactive']),
  /** What is asked, and why; one or more lines, free of control characters. */
  text: z.string(),
  /** What is to be typed, in order; `echo`: whether it may be seen. */
  prompts: z.array(z.object({ text: z.string(), echo: z.boolean() })),
})
export type Question = z.infer<typeof Question>

/** `POST /v1/questions/{id}`: one answer for each prompt; null declines. */
export const AnswerRequest = z.strictObject({
  answers: z.array(z.string().max(16_384)).max(1000).nullable(),
})
export type AnswerRequest = z.infer<typeof AnswerRequest>

const bytes = z.object({ up: z.number(), down: z.number() })

export const HostStatus = z.object({
  name: z.string(),
  state: z.enum(HOST_STATES),
  /** Why the host is not up, in one sentence; null when it is, or was never asked to be. */
  reason: z.string().nullable(),
  /** When the host took its present state. */
  since: z.string().nullable(),
  socket: z.string(),
  /** `user@host:port` as resolved, or as configured while nothing has been resolved. */
  ssh: z.string(),
  /** The engine's socket there; `auto` while it has to be found. */
  remoteSocket: z.string(),
  /** It was looked for and found there; false where it was told. */
  remoteSocketFound: z.boolean(),
  engine: z.object({ version: z.string(), apiVersion: z.string() }).nullable(),
  /** The last measured round trip of the link, milliseconds. */
  rttMs: z.number().nullable(),
  lanes: z.number(),
  /** Who speaks SSH, and why it is not dproxy itself; null before the first connection. */
  transport: z.object({ kind: z.enum(['ssh2', 'openssh']), why: z.string().nullable() }).nullable(),
  /** How streams get from sshd to the engine's socket, and why it is not sshd itself; null before the first. */
  forwarding: z
    .object({
      method: z.enum(['streamlocal', 'docker system dial-stdio', 'socat', 'nc']),
      why: z.string().nullable(),
    })
    .nullable(),
  /** What the login waits for a person to answer. */
  question: Question.nullable(),
  streams: z.object({ open: z.number(), total: z.number() }),
  bytes,
  /** Clients that were turned away because this process had no file descriptor left for them. */
  turnedAway: z.number(),
  reconnects: z.number(),
  lastError: Failure.extend({ at: z.string() }).nullable(),
  /** What has been passed on the way up in the present or last attempt, in order, with the time it took. */
  stages: z.array(z.object({ stage: z.enum(STAGES), ms: z.number() })),
  /** The stage being worked on while `connecting`. */
  stage: z.enum(STAGES).nullable(),
  /** Milliseconds until the next attempt while `retrying`. */
  nextTryMs: z.number().nullable(),
  tags: z.array(z.string()),
  description: z.string().nullable(),
  protected: z.boolean(),
})
export type HostStatus = z.infer<typeof HostStatus>

export const SupervisorInfo = z.object({
  pid: z.int(),
  version: z.string(),
  since: z.string(),
  control: z.string(),
})
export type SupervisorInfo = z.infer<typeof SupervisorInfo>

/** `GET /v1/status`, one line of `GET /v1/watch`, and what `dproxy status --json` prints. */
export const Status = z.object({
  schemaVersion: z.literal(SCHEMA_VERSION),
  /** When the numbers were read, milliseconds since 1970: rates divide by the difference of two. */
  atMs: z.number(),
  supervisor: SupervisorInfo.nullable(),
  hosts: z.array(HostStatus),
})
export type Status = z.infer<typeof Status>

/** One client and its channel. */
export const StreamStatus = z.object({
  id: z.string(),
  host: z.string(),
  since: z.string(),
  bytes,
})
export type StreamStatus = z.infer<typeof StreamStatus>

/** `POST /v1/hosts/{name}/up` */
export const UpRequest = z.strictObject({
  definition: HostDefinition,
  /** The caller's SSH_AUTH_SOCK: the supervisor may outlive the session whose environment it was born in. */
  agent: z.string().max(4096).nullable(),
  /** Listen now, dial on the first client. */
  lazy: z.boolean().default(false),
  /** Somebody waits at a terminal who can answer the questions of the login. */
  person: z.boolean().default(false),
  /** Restart a protected host whose definition has changed, although that cuts its streams. */
  evenProtected: z.boolean().default(false),
})
export type UpRequest = z.infer<typeof UpRequest>

/** What `up` did: `unchanged` when the host already ran as asked. */
export const UpReply = z.object({ action: z.enum(['started', 'restarted', 'unchanged', 'retried']) })
export type UpReply = z.infer<typeof UpReply>

/** `POST /v1/hosts/{name}/down` and `/restart` */
export const DownRequest = z.strictObject({
  /** How long open streams may go on before they are cut. */
  drainMs: z.int().min(0).max(3_600_000).default(5000),
  /** `restart`: somebody waits at a terminal who can answer the questions of the login. */
  person: z.boolean().default(false),
})
export type DownRequest = z.infer<typeof DownRequest>

export const DownReply = z.object({ cut: z.int() })
export type DownReply = z.infer<typeof DownReply>

/** A host that a supervisor runs, as the one that takes its place needs it. */
export const RunningHost = z.object({
  definition: HostDefinition,
  /** The agent asked for keys, as last handed over. */
  agent: z.string().nullable(),
  state: z.enum(HOST_STATES),
  /** Streams were cut a moment ago: their clients must not be served yet (promise 2). */
  cutLately: z.boolean(),
})
export type RunningHost = z.infer<typeof RunningHost>

/** `GET /v1/running` */
export const Running = z.object({
  /** Whether somebody's terminal or service manager waits for the very process: then none can take its place. */
  foreground: z.boolean(),
  hosts: z.array(RunningHost),
})
export type Running = z.infer<typeof Running>

/** `POST /v1/take-over`, to a supervisor that was started to take another one's place. */
export const TakeOverRequest = z.strictObject({
  /** How long streams that are open in the other supervisor may go on before they are cut. */
  drainMs: z.int().min(0).max(3_600_000).default(60_000),
})
export type TakeOverRequest = z.infer<typeof TakeOverRequest>

const draining = z.array(z.object({ host: z.string(), streams: z.int() }))

/** Who has left its place, and the streams that end there. */
export const TakeOverReply = z.object({ pid: z.int(), draining })
export type TakeOverReply = z.infer<typeof TakeOverReply>

/**
 * `CONNECT /v1/hand-over`: what the supervisor that leaves its place tells the one that takes it, a document a
 * line. Whoever connects freezes it: it starts and stops no host until it is told to retire, or the connection
 * ends.
 */
export const HandOverNews = z.discriminatedUnion('is', [
  /** What it runs, now that no change is under way. */
  z.object({ is: z.literal('frozen'), pid: z.int(), running: Running }),
  /** It will not hand over, or no longer: it serves its hosts as before. */
  z.object({ is: z.literal('refused'), ...Failure.shape }),
  /** It has accepted its last client. */
  z.object({ is: z.literal('retired'), draining }),
  /** Streams of a host end before their work is done, right after this was sent: its clients are to be held down. */
  z.object({ is: z.literal('cut'), host: z.string() }),
  /** A host has no stream left there. */
  z.object({ is: z.literal('drained'), host: z.string() }),
])
export type HandOverNews = z.infer<typeof HandOverNews>

/** `CONNECT /v1/hand-over`: what the supervisor that takes the place says. */
export const HandOverOrder = z.discriminatedUnion('do', [
  /** The sockets are taken: accept no more clients, let the streams end for so long, then leave. */
  z.object({ do: z.literal('retire'), drainMs: z.int().min(0) }),
  /** A host is to be stopped: its streams have no more than so long. */
  z.object({ do: z.literal('hasten'), host: z.string(), drainMs: z.int().min(0) }),
  /** Streams of a host are cut here: clients that have others there are to ask nothing new in them for a moment. */
  z.object({ do: z.literal('hold down'), host: z.string() }),
])
export type HandOverOrder = z.infer<typeof HandOverOrder>

/** One line of `GET /v1/logs` and of the log file. */
export const LogEntry = z.object({
  time: z.string(),
  level: z.enum(['debug', 'info', 'warn', 'error']),
  host: z.string().nullable(),
  message: z.string(),
})
export type LogEntry = z.infer<typeof LogEntry>

/** The answer to every request that is not a stream of lines. */
export const Reply = z.discriminatedUnion('ok', [
  z.object({ ok: z.literal(true), value: z.unknown() }),
  z.object({ ok: z.literal(false), ...Failure.shape }),
])
export type Reply = z.infer<typeof Reply>
