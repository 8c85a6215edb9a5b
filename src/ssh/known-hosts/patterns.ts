/**
 * Whether a list of patterns as in ssh_config(5), PATTERNS, names `name`: one that is negated takes the name
 * out whatever else the list says, and a list of nothing but negations names nobody. In any case (ASCII).
 */
export const listNames = (list: string, name: string): boolean => {
  const lower = asciiLower(name)
  let named = false
  for (const entry of asciiLower(list).split(',')) {
    const pattern = entry.startsWith('!') ? entry.slice(1) : entry
    // OpenSSH's own limit; it bounds the work, too.
    if (pattern.length > LONGEST_PATTERN) return false
    if (!matches(pattern, lower)) continue
    if (pattern !== entry) return false
    named = true
  }
  return named
}

// Bytes stand for UTF-8 here, one character each: toLowerCase would change some of them.
export const asciiLower = (text: string): string =>
  text.replace(/[A-Z]+/gu, (letters) => letters.toLowerCase())

const LONGEST_PATTERN = 1022

// `*` stands for any text, `?` for one character. Each `*` takes as little as it can, and once the next `*` is
// reached what the one before took is final: at worst length times length steps, not two to the power of it.
const matches = (pattern: string, text: string): boolean => {
  let at = 0
  let star = -1
  let tail = 0
  for (let next = 0; next < text.length;) {
    const wanted = pattern[at]
    if (wanted === '*') {
      star = at
      at += 1
      tail = next
    } else if (wanted !== undefined && (wanted === '?' || wanted === text[next])) {
      at += 1
      next += 1
    } else if (star >= 0) {
      tail += 1
      next = tail
      at = star + 1
    } else {
      return false
    }
  }
  while (pattern[at] === '*') at += 1
  return at === pattern.length
}
