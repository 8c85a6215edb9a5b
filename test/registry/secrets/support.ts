import { readdirSync, readFileSync } from 'node:fs'
import { asDproxyError, type DproxyError } from '../../../src/base/errors.js'

/** A signal that never aborts. */
export const calm = (): AbortSignal => new AbortController().signal

/** The error that `work` rejects with; it must. */
export const failureOf = async (work: Promise<unknown>): Promise<DproxyError> => {
  const value = await work.then(
    (done) => ({ done }),
    (failure: unknown) => ({ failure }),
  )
  if ('done' in value) throw new Error(`it worked, and gave ${JSON.stringify(value.done)}`)
  return asDproxyError(value.failure)
}

/** All that an error could show: its words, its stack and its causes. */
export const everythingIn = (failure: DproxyError): string => {
  const { message, hint, stack, cause } = failure
  return [
    message,
    hint,
    stack,
    cause instanceof Error ? everythingIn(cause as DproxyError) : String(cause),
  ].join('\n')
}

/**
 * Looks at the command line and environment of every process of this machine, again and again while `work` goes
 * on, and says where `secret` was seen; and how many processes were looked at that were not there before.
 */
export const seenInProcesses = async (
  secret: string,
  work: () => Promise<unknown>,
): Promise<{ seen: string[]; started: number }> => {
  const before = new Set(pids())
  const seen = new Set<string>()
  const started = new Set<string>()
  const look = () => {
    for (const pid of pids()) {
      if (!before.has(pid)) started.add(pid)
      for (const file of ['cmdline', 'environ']) {
        if (read(`/proc/${pid}/${file}`).includes(bytes))
          seen.add(`${file} of ${read(`/proc/${pid}/comm`).trim()}`)
      }
    }
  }
  const bytes = Buffer.from(secret).toString('latin1')
  const watch = setInterval(look, 1)
  try {
    await work()
  } finally {
    clearInterval(watch)
  }
  return { seen: [...seen], started: started.size }
}

const pids = (): string[] => readdirSync('/proc').filter((name) => /^\d+$/u.test(name))

const read = (path: string): string => {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
