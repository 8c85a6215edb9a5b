/**
 * The config file, as one zod schema: it checks what a user wrote, turns it into what we work with, and becomes
 * the JSON schema that teaches editors. What a schema cannot see (names, two hosts on one socket, what this
 * version cannot do yet) is in check.ts.
 */
import { z } from 'zod'
import { parseDestination } from './destination.js'
import { parseJumps } from './jump.js'
import { NAME, NAME_RULE } from './host.js'
import { DEFAULT_SOCKET, parsePath, parseRemoteSocket, parseTemplate } from './local-path.js'
import type { Parsed } from './parsed.js'
import { parseSpan } from './span.js'

/** Text of the file, read by `parse`; what is wrong with it becomes a problem at its place. */
const text = <T>(what: string, parse: (text: string) => Parsed<T>, teach: Record<string, unknown> = {}) =>
  z
    .string({ error: `must be ${what}` })
    .meta(teach)
    .transform((given, context): T => {
      const parsed = parse(given)
      if (parsed.ok) return parsed.value
      context.addIssue({ code: 'custom', message: parsed.problem, input: given })
      return z.NEVER
    })

const paths = z
  .union([z.string(), z.array(z.string())], { error: 'must be a path or a list of paths' })
  .transform((given, context): string[] => {
    const list = [given].flat()
    for (const [index, path] of list.entries()) {
      const parsed = parsePath(path)
      if (parsed.ok) continue
      const at = Array.isArray(given) ? [index] : []
      context.addIssue({ code: 'custom', message: parsed.problem, input: path, path: at })
    }
    return list
  })

const span = text('a duration such as 10s', parseSpan, {
  pattern: String.raw`^\s*\d+(\.\d+)?(ms|s|m|h|d)\s*$`,
  examples: ['500ms', '10s', '2m'],
})

const template = text('a path', parseTemplate, { examples: [DEFAULT_SOCKET, '{runtime}/{name}.sock'] })
const flag = z.boolean({ error: 'must be true or false' })
const within = (least: number, most: number) => {
  const error = `must be a whole number from ${least} to ${most}`
  return z.int({ error }).min(least, { error }).max(most, { error })
}
const WORDS = 'must be a list of words such as [pass, show, prod]: no shell reads it'
const command = z
  .array(
    z
      .string({ error: 'must be a word in quotes' })
      .refine((word) => !word.includes('\0'), { error: 'must not have a NUL character' }),
    { error: WORDS },
  )
  .min(1, { error: WORDS })
  .refine(([program]) => program !== '', { error: 'must begin with the name of a program' })

export const KeepAlive = z.strictObject(
  {
    interval: span
      .optional()
      .describe('How long a link may be silent before it is asked for a sign of life; 15s'),
    misses: within(1, 100).optional().describe('After how many unanswered signs a link counts as lost; 3'),
  },
  { error: 'must be a mapping such as {interval: 15s, misses: 3}' },
)

/** The keys that make sense for one host as well as for all of them. */
const shared = {
  identityFile: paths
    .optional()
    .describe(
      "Private key files, one or a list, in the order to try; default: what ssh's own configuration says",
    ),
  identitiesOnly: flag
    .optional()
    .describe('Offer only the keys of identityFile, even when the agent holds more; default: false'),
  knownHostsFile: paths
    .optional()
    .describe("known_hosts files, one or a list; default: what ssh's own configuration says"),
  proxyJump: text('none, or aliases or user@host:port, comma-separated', parseJumps, {
    examples: ['bastion', 'me@bastion:2222,inner', 'none'],
  })
    .optional()
    .describe('Hosts to jump through: aliases or user@host:port, comma-separated; none: directly'),
  proxyCommand: command
    .optional()
    .describe(
      'A program and its words, whose input and output are the connection; %h, %p and %r are filled in; never in a project file',
    ),
  passphraseCommand: command
    .optional()
    .describe('A program and its words that prints the passphrase of the key; never in a project file'),
  passwordCommand: command
    .optional()
    .describe('A program and its words that prints the login password; never in a project file'),
  remoteSocket: text('auto or an absolute path', parseRemoteSocket, {
    examples: ['auto', '/var/run/docker.sock'],
  })
    .optional()
    .describe("The Docker engine's socket on the remote machine, an absolute path; default: auto"),
  connectTimeout: span.optional().describe('How long connecting and logging in may each take; default: 10s'),
  keepAlive: KeepAlive.optional().describe('When a silent link counts as lost; default: 3 times 15s'),
  lanes: within(1, 16)
    .optional()
    .describe(
      'The most SSH connections to keep to the host; default: 4. More than one is used only where its server forbids forwarding to Unix sockets and allows too few sessions in one',
    ),
  transport: z
    .enum(['auto', 'ssh2', 'openssh'], { error: 'must be auto, ssh2 or openssh' })
    .optional()
    .describe(
      "Who speaks SSH: dproxy itself (ssh2) or the system's ssh (openssh); default: auto, which leaves to openssh what only it can do",
    ),
  protected: flag
    .optional()
    .describe('Ask before anything that stops the host or cuts its streams; default: false'),
}

export const Defaults = z.strictObject(shared, {
  error: 'must be a mapping of keys that hold for every host',
})
export type Defaults = z.output<typeof Defaults>

export const HostEntry = z.strictObject(
  {
    ssh: text('an alias of ssh, or ssh://user@host:port', parseDestination, {
      examples: ['ssh://deploy@prod.example.com:22', 'prod-fra'],
    }).describe('Where to log in: ssh://[user@]host[:port], or any alias that ssh itself understands'),
    description: z.string({ error: 'must be text' }).optional().describe('A line about the host, for people'),
    tags: z
      .array(z.string({ error: 'must be a word' }).regex(NAME, { error: NAME_RULE }), {
        error: 'must be a list of words',
      })
      .optional()
      .describe('Words to choose hosts by: `dproxy up @eu` starts every host tagged eu'),
    socket: template
      .optional()
      .describe("The host's local socket; {name}, {runtime}, {uid} and {home} are filled in"),
    ...shared,
  },
  { error: 'must be a mapping with at least ssh' },
)
export type HostEntry = z.output<typeof HostEntry>

export const ConfigFile = z
  .strictObject(
    {
      $schema: z.string({ error: 'must be text' }).optional().describe('Where an editor finds this schema'),
      socket: template
        .optional()
        .describe(
          `Every host's local socket; {name}, {runtime}, {uid}, {home} are filled in; ${DEFAULT_SOCKET}`,
        ),
      secretStore: z
        .enum(['keychain', 'file'], { error: 'must be keychain or file' })
        .optional()
        .describe("Where `dproxy secret` keeps secrets: the system's keychain, or an encrypted file"),
      defaults: Defaults.optional().describe(
        'What holds for every host of this file that does not say otherwise',
      ),
      hosts: z
        // zod would not look into a host whose name it refuses: names are checked apart.
        .record(z.string().meta({ pattern: NAME.source }), HostEntry, {
          error: 'must be a mapping of names to hosts',
        })
        .describe('The hosts, by name. Letter case does not tell two names apart'),
    },
    { error: 'must be a mapping with at least hosts' },
  )
  .meta({ title: "dproxy's config file" })

/** The keys that may stand at a place of the file, for "did you mean". */
export const keysAt = (path: readonly PropertyKey[]): string[] => {
  if (path.length === 0) return Object.keys(ConfigFile.shape)
  if (path.at(-1) === 'keepAlive') return Object.keys(KeepAlive.shape)
  return Object.keys(path[0] === 'defaults' ? Defaults.shape : HostEntry.shape)
}
