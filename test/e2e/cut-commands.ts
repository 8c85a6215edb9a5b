import { IMAGE } from '../testbed/image.js'
import type { Command, Stage } from './cut-command.js'
import { DATA_COMMANDS } from './cut-commands-data.js'

const LONG = 'echo begun; sleep 300'
const [CHANNEL, ANSWER, INSIDE, INPUT] = [
  'before its channel',
  'before its answer',
  'inside its answer',
  'after its input ended',
] as const satisfies readonly Stage[]

const EXEC = { asks: /^POST \S+\/exec\/\w+\/start/u, after: /^POST \S+\/containers\/[^/]+\/exec /u }
const RUN = { asks: /^POST \S+\/containers\/\w+\/start/u, after: /^POST \S+\/containers\/create/u }
// The name of a container of this client's own, with the network that a test engine lacks left alone.
const run = (id: string, ...how: string[]) => ['run', '--name', id, ...how, IMAGE, 'sh', '-c']

const feed = (input: Uint8Array | 'open') => () => ({ input })
const line = Buffer.from('a line of input\n')
const terminal = () => ({ terminal: true })

/** docker's commands that may be cut. */
export const COMMANDS: readonly Command[] = [
  {
    name: 'exec … exit 7',
    words: ({ box }) => ['exec', box, 'sh', '-c', `${LONG}; exit 7`],
    ...EXEC,
    stages: [CHANNEL, ANSWER, INSIDE],
  },
  {
    name: 'exec … exit 0',
    words: ({ box }) => ['exec', box, 'sh', '-c', `${LONG}; exit 0`],
    ...EXEC,
    stages: [CHANNEL, ANSWER, INSIDE],
  },
  {
    name: 'exec -i … exit 7',
    words: ({ box }) => ['exec', '-i', box, 'sh', '-c', `cat; ${LONG}; exit 7`],
    ...EXEC,
    options: feed(line),
    stages: [INPUT],
  },
  {
    name: 'exec -i … exit 0',
    words: ({ box }) => ['exec', '-i', box, 'sh', '-c', `cat; ${LONG}; exit 0`],
    ...EXEC,
    options: feed(line),
    stages: [INPUT],
  },
  {
    name: 'exec -it',
    words: ({ box }) => ['exec', '-it', box, 'sh', '-c', LONG],
    ...EXEC,
    options: terminal,
    stages: [INSIDE],
  },
  {
    name: 'run',
    words: (_, id) => [...run(id), LONG],
    ...RUN,
    asks: RUN.asks,
    stages: [CHANNEL, ANSWER],
  },
  {
    name: 'run, with output',
    words: (_, id) => [...run(id, '--rm'), LONG],
    asks: /^POST \S+\/containers\/\w+\/attach/u,
    stages: [INSIDE],
  },
  {
    name: 'run -i',
    words: (_, id) => [...run(id, '-i'), `cat; ${LONG}`],
    asks: /^POST \S+\/containers\/\w+\/attach/u,
    options: feed(line),
    stages: [INPUT],
  },
  {
    name: 'run -it',
    words: (_, id) => [...run(id, '-it'), LONG],
    asks: /^POST \S+\/containers\/\w+\/attach/u,
    options: terminal,
    stages: [INSIDE],
  },
  {
    name: 'run -d',
    words: (_, id) => [...run(id, '-d'), LONG],
    asks: /^POST \S+\/containers\/\w+\/start/u,
    part: 10,
    stages: [ANSWER, INSIDE],
    done: async ({ scene }, id) =>
      (await scene.direct(['inspect', '-f', '{{.State.Running}}', id])).stdout === 'true',
  },
  {
    name: 'attach',
    words: ({ ticker }) => ['attach', ticker],
    asks: /^POST \S+\/attach/u,
    after: /^GET \S+\/containers\/[^/]+\/json/u,
    stages: [CHANNEL, ANSWER, INSIDE],
  },
  {
    name: 'logs -f',
    words: ({ ticker }) => ['logs', '-f', ticker],
    asks: /^GET \S+\/logs/u,
    stages: [CHANNEL, ANSWER, INSIDE],
  },
  {
    name: 'events',
    words: () => ['events', '--since', '0'],
    asks: /^GET \S+\/events/u,
    stages: [ANSWER, INSIDE],
  },
  {
    name: 'wait',
    words: ({ box }) => ['wait', box],
    asks: /^POST \S+\/wait/u,
    silent: true,
    stages: [CHANNEL, ANSWER, INSIDE],
  },
  {
    name: 'stop',
    words: ({ stubborn }) => ['stop', '-t', '300', stubborn],
    asks: /^POST \S+\/stop/u,
    stages: [CHANNEL, ANSWER],
    done: async ({ scene, stubborn }) =>
      (await scene.direct(['inspect', '-f', '{{.State.Running}}', stubborn])).stdout === 'false',
  },
  {
    name: 'ps',
    words: () => ['ps', '--format', '{{.Names}}', '--no-trunc'],
    asks: /^GET \S+\/containers\/json/u,
    part: 200,
    stages: [CHANNEL, ANSWER, INSIDE],
    done: async ({ box, ticker }, _, { text }) => text.includes(box) && text.includes(ticker),
  },
  {
    name: 'stats --no-stream',
    words: ({ box }) => ['stats', '--no-stream', box],
    asks: /^GET \S+\/stats/u,
    part: 100,
    stages: [ANSWER, INSIDE],
    done: async (_stock, _id, { text }) => / \d[\d.]*%/u.test(text),
  },
  ...DATA_COMMANDS,
]
