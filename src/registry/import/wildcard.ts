/**
 * Whether a text matches a pattern in which `*` stands for any characters and `?` for one (ssh_config(5),
 * PATTERNS). Takes at most pattern times text steps: no pattern can make it hang.
 */
export const matches = (pattern: string, text: string): boolean => {
  let [p, t] = [0, 0]
  // Where to go on when what follows the last star does not fit.
  let star: { p: number; t: number } | undefined
  while (t < text.length) {
    if (pattern[p] === '*') {
      star = { p: p + 1, t }
      p += 1
    } else if (pattern[p] === '?' || pattern[p] === text[t]) {
      p += 1
      t += 1
    } else if (star) {
      star.t += 1
      p = star.p
      t = star.t
    } else return false
  }
  return /^\**$/u.test(pattern.slice(p))
}

/** Whether a text holds a wildcard. */
export const isPattern = (text: string): boolean => /[*?]/u.test(text)
