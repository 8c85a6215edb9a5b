import type { HostStatus } from '../../control/messages.js'
import { STAGES } from '../../base/errors.js'
import { formatDuration } from '../../base/duration.js'
import type { GlobalWords, Io } from '../io.js'
import { cell, paintFor, type Paint } from '../paint.js'
import { redrawing } from '../redraw.js'
import type { Canvas } from '../questions.js'
import type { Outcome, Progress } from './outcome.js'

/** Shows on stderr how each host gets through its stages: live on a terminal, else a line when it is done. */
export const showProgress = (
  hosts: readonly { readonly name: string }[],
  { quiet, json }: GlobalWords,
  io: Io,
): Progress & Canvas => {
  if (quiet || json) return SILENT
  const paint = paintFor(io.err)
  const width = Math.max(...hosts.map(({ name }) => name.length))
  const said: Progress['settled'] = (host, action) =>
    io.err.write(`${cell(host.name).padEnd(width)}  ${arrival(host, action, paint)}\n`)
  if (!io.err.isTTY) return { ...SILENT, settled: said }
  return live(width, said, io, paint)
}

const SILENT: Progress & Canvas = {
  show: () => undefined,
  settled: () => undefined,
  end: () => undefined,
  pause: () => undefined,
  resume: () => undefined,
}

const live = (width: number, said: Progress['settled'], io: Io, paint: Paint): Progress & Canvas => {
  const draw = redrawing(io.err)
  const moving = new Map<string, HostStatus>()
  let paused = false
  // What would stand in the middle of an open question.
  let kept: Parameters<Progress['settled']>[] = []
  const sayKept = () => {
    for (const each of kept) said(...each)
    kept = []
  }
  const redraw = () => {
    if (paused) return
    // What does not fit the screen could not be taken back from it.
    const room = Math.max(1, io.err.rows - 2)
    const lines = Array.from(
      moving.values(),
      (host) => `${cell(host.name).padEnd(width)}  ${onTheWay(host, paint)}`,
    )
    const rest = lines.length > room ? [paint.dim(`and ${lines.length - room + 1} more`)] : []
    draw([...lines.slice(0, room - rest.length), ...rest].join('\n'))
  }
  return {
    show: (host) => {
      moving.set(host.name, host)
      redraw()
    },
    settled: (host, action) => {
      moving.delete(host.name)
      if (paused) {
        kept.push([host, action])
        return
      }
      draw.clear()
      said(host, action)
      if (moving.size > 0) redraw()
    },
    end: () => {
      draw.clear()
      sayKept()
    },
    pause: () => {
      paused = true
      draw.clear()
    },
    resume: () => {
      paused = false
      sayKept()
      redraw()
    },
  }
}

/** `✓ resolve  ✓ connect  ◐ login` */
const onTheWay = ({ stages, stage }: HostStatus, paint: Paint): string => {
  const passed = new Set(stages.map((each) => each.stage))
  return STAGES.filter((each) => passed.has(each) || each === stage)
    .map((each) => (each === stage ? paint.yellow(`◐ ${each}`) : paint.green(`✓ ${each}`)))
    .join('  ')
}

const arrival = (
  { state, stages, lastError, engine }: HostStatus,
  action: Outcome['action'],
  paint: Paint,
): string => {
  if (state === 'up' && action === 'unchanged')
    return `${paint.green('✓ up')}  Docker ${cell(engine?.version)}  already`
  const steps = stages.map(({ stage, ms }) => paint.dim(`${stage} ${formatDuration(ms)}`)).join(', ')
  const why = action === 'restarted' ? 'restarted  ' : ''
  if (state === 'up') return `${paint.green('✓ up')}  ${why}Docker ${cell(engine?.version)}  ${steps}`
  const what = state === 'draining' ? 'stopped' : (lastError?.stage ?? state)
  return `${paint.red(`✗ ${what}`)}  ${steps}`.trimEnd()
}
