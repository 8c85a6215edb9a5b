import { readFileSync } from 'node:fs'

/** Processor time that a process has used, user and system, without its children: milliseconds (proc(5), stat). */
export const processorMs = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
  return (Number(user) + Number(system)) * MS_A_TICK
}

// USER_HZ, as Linux shows it to programs on every machine that Node runs on.
const MS_A_TICK = 10
