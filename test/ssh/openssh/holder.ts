/** A process that opens a lane and holds it until it is killed; a test starts it on its own. */
import { openOpensshLane } from '../../../src/ssh/openssh/open-openssh-lane.js'
import type { Resolved, Target } from '../../../src/ssh/target.js'

const [resolved, target, runDir] = JSON.parse(process.argv[2] ?? '') as [Resolved, Target, string]
await openOpensshLane(resolved, target, {
  why: null,
  env: process.env,
  runDir,
  signal: new AbortController().signal,
  onStage: () => undefined,
})
process.stdout.write('ready\n')
setInterval(() => undefined, 1000)
