import { expect } from 'vitest'
import { until } from '../testbed/until.js'
import type { Visit } from '../testbed/gate.js'
import type { Client, End } from './cut-client.js'
import { type Command, ruleFor, type Stage, STAGES, type Stock } from './cut-command.js'
import { type CutScene, tell } from './cut.js'

/** One command that was cut at one stage. */
interface Cut {
  readonly command: Command
  readonly stage: Stage
  readonly id: string
  readonly client: Client
  readonly visit: Visit
}

/** How the link, or what it carries, is harmed. */
export interface Harm {
  readonly name: string
  /** Resolves once the harm is done and noticed; whatever was harmed works again after it, or soon will. */
  readonly harm: (scene: CutScene) => Promise<void>
}

/**
 * Brings every command to every stage of its own, all on one link; harms it once; and waits for the clients to
 * end. Fails when one says that it succeeded although its work is not done, and when one does not end.
 */
export const cutAll = async (
  stock: Stock,
  commands: readonly Command[],
  { name, harm }: Harm,
): Promise<void> => {
  const { scene } = stock
  const all = commands.flatMap((command) => command.stages.map((stage) => ({ command, stage })))
  // Their first channel is the one they are cut before: they start once nothing gets through any more.
  const late = all.filter(({ command, stage }) => stage === 'before its channel' && !command.after)
  const cuts: Cut[] = []
  for (const { command, stage } of all.filter((each) => !late.includes(each)))
    cuts.push(await begin(stock, command, stage))
  await Promise.all(cuts.map((cut) => arrival(cut)))
  await scene.settled()
  const waiting = cuts.filter(({ stage }) => stage === 'before its channel')
  const before = await scene.descriptors()
  scene.chaos.up.set({ blackhole: true })
  for (const { visit } of waiting) visit.release()
  for (const { command, stage } of late) cuts.push(await begin(stock, command, stage))
  await until('they wait for a channel', async () => {
    const came = (await scene.descriptors()) - before
    // Or the silence was noticed by now.
    return came >= waiting.length + late.length || (await scene.status()).state !== 'up'
  })
  const harmedAtMs = performance.now()
  await harm(scene)
  await scene.chaos.heal()
  await judge(stock, cuts, name, harmedAtMs)
}

/** Starts every command while its host's link is down; fails as {@link cutAll} does, and when one says not why. */
export const startAll = async (stock: Stock, commands: readonly Command[], name: string): Promise<void> => {
  const cuts: Cut[] = []
  const sinceMs = performance.now()
  for (const command of commands) cuts.push(await begin(stock, command, 'while the link is down'))
  await judge(stock, cuts, name, sinceMs)
  for (const { command, client } of cuts)
    expect((await client.end).text, command.name).toMatch(/dproxy: prod: /u)
}

const begin = async (stock: Stock, command: Command, stage: Stage): Promise<Cut> => {
  const { scene } = stock
  const id = `${scene.id}-${slug(command.name)}-${slug(stage)}`
  await command.prepare?.(stock, id)
  const visit = scene.gate.expect(id, ruleFor(command, stage))
  const client = await scene.start(command.words(stock, id), { ...command.options?.(stock), visitor: id })
  return { command, stage, id, client, visit }
}

const arrival = async (cut: Cut): Promise<void> => {
  const { command, stage, client } = cut
  try {
    await until('it is there', () => isThere(cut), 30_000)
  } catch (cause) {
    throw new Error(`docker ${command.name} never was ${stage}; it said: ${client.text}`, { cause })
  }
}

const isThere = ({ command, stage, client, visit }: Cut): boolean => {
  const { part, silent } = command
  switch (stage) {
    case 'before its channel':
    case 'before its answer':
      return visit.sent > 0
    case 'in its upload':
      return visit.sent >= 100_000
    case 'inside its answer':
      return part === undefined
        ? visit.answered > 0 && (silent ?? client.text !== '')
        : visit.answered >= part
    case 'after its input ended':
      return visit.whole && (part !== undefined || client.text.includes('begun'))
    case 'while the link is down':
      return true
    default:
      return stage satisfies never
  }
}

/** Waits for the ends, tells of them, and compares them with what was done. */
const judge = async (stock: Stock, cuts: readonly Cut[], name: string, harmedAtMs: number): Promise<void> => {
  const ends = new Map<string, Map<Stage, End>>()
  const wrong: string[] = []
  let slowestMs = 0
  for (const { command, stage, id, client } of cuts) {
    const end = await client.end
    const tookMs = Math.round(end.atMs - harmedAtMs)
    slowestMs = Math.max(slowestMs, tookMs)
    ends.set(command.name, (ends.get(command.name) ?? new Map<Stage, End>()).set(stage, end))
    if (end.hung) wrong.push(`${command.name}, ${stage}: did not end: ${end.text.slice(-200)}`)
    else if (end.code === 0 && !(await command.done?.(stock, id, end)))
      wrong.push(`${command.name}, ${stage}: said 0 after ${tookMs} ms: ${end.text.slice(-200)}`)
  }
  const rows = Array.from(ends, ([command, row]) => [
    command,
    ...STAGES.map((stage) => (row.has(stage) ? String(row.get(stage)!.code) : '–')),
  ])
  const title = `${name} (${cuts.length} clients; the last ended ${slowestMs} ms after it)`
  await tell(title, ['command', ...STAGES], rows)
  expect(wrong).toEqual([])
}

const slug = (text: string): string => text.replaceAll(/\W+/gu, '-').toLowerCase()
