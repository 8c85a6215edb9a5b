// Seldom enough to cost nothing for hundreds of sockets, and twice within the five seconds in which a loss must
// have been noticed.
const EVERY_MS = 2000

type Look = () => Promise<void>

const looks = new Set<Look>()
let timer: NodeJS.Timeout | undefined
let looking = false

/**
 * Calls `look` every two seconds until the returned function is called; `look` must not throw. One timer serves
 * all; it keeps no process alive. One look at a time: on a file system that hangs, each would hold one of the
 * few threads that Node has for all files and names.
 */
export const lookRegularly = (look: Look): (() => void) => {
  looks.add(look)
  timer ??= setInterval(() => void lookAtAll(), EVERY_MS).unref()
  return () => {
    looks.delete(look)
    if (looks.size > 0) return
    clearInterval(timer)
    timer = undefined
  }
}

const lookAtAll = async (): Promise<void> => {
  if (looking) return
  looking = true
  try {
    for (const look of looks) await look()
  } finally {
    looking = false
  }
}
