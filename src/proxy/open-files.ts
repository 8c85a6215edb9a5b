import { readFileSync } from 'node:fs'

/**
 * How many files this process may have open, sockets included: the soft limit (getrlimit(2), RLIMIT_NOFILE),
 * which Node raises to the hard one as it starts. Infinity where it is unknown.
 */
export const openFilesLimit = (): number => {
  try {
    const limits = readFileSync('/proc/self/limits', 'latin1')
    return number(/^Max open files\s+(\S+)/mu.exec(limits)?.[1])
  } catch {
    return number(reported())
  }
}

const number = (limit: unknown): number => {
  const files = Number(limit)
  return Number.isFinite(files) && files > 0 ? files : Infinity
}

/** Where there is no /proc. */
const reported = (): unknown => {
  const report: NodeJS.ProcessReport & { excludeNetwork?: boolean } = process.report
  // It would look up the names of all peers, and wait for them.
  report.excludeNetwork = true
  const { userLimits } = report.getReport() as { userLimits?: { open_files?: { soft?: unknown } } }
  return userLimits?.open_files?.soft
}
