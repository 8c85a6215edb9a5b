/** A look at the processes of this machine, as Linux shows them in /proc. */
import { readFileSync, readdirSync } from 'node:fs'

/** Every process below `pid`, parents before their children. */
export const descendants = (pid: number): number[] => {
  const all = pids().map((each) => ({ pid: each, parent: statOf(each)?.parent }))
  const below = (parent: number): number[] =>
    all.filter((each) => each.parent === parent).flatMap((each) => [each.pid, ...below(each.pid)])
  return below(pid)
}

/** Every process that was started with `name=value` in its environment. */
export const withEnvironment = (name: string, value: string): number[] =>
  pids().filter((pid) => isAlive(pid) && read(pid, 'environ').split('\0').includes(`${name}=${value}`))

/** The command line, words separated by spaces; empty when the process is gone or a zombie. */
export const commandOf = (pid: number): string => read(pid, 'cmdline').split('\0').join(' ').trim()

/** A process that still runs; one that only waits to be reaped does not. */
export const isAlive = (pid: number): boolean => {
  const state = statOf(pid)?.state
  return state !== undefined && state !== 'Z' && state !== 'X'
}

/** The process that started it, or has adopted it since. */
export const parentOf = (pid: number): number => {
  const parent = statOf(pid)?.parent
  if (parent === undefined) throw new Error(`process ${pid} is gone`)
  return parent
}

/** Resident memory, bytes. */
export const residentBytes = (pid: number): number => {
  const kib = /^VmRSS:\s+(\d+) kB$/mu.exec(read(pid, 'status'))?.[1]
  if (kib === undefined) throw new Error(`process ${pid} is gone`)
  return Number(kib) * 1024
}

/** How many file descriptors it holds. */
export const openFiles = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length

const pids = (): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/u.test(name))
    .map(Number)

const read = (pid: number, file: string): string => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch {
    return ''
  }
}

// proc(5): "pid (comm) state ppid …", where comm may itself hold blanks and parentheses.
const statOf = (pid: number): { state: string; parent: number } | undefined => {
  const stat = read(pid, 'stat')
  const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return state && parent ? { state, parent: Number(parent) } : undefined
}
