/**
 * The keyword of an ssh_config line and its words: `Host a "b c"`, `Host=a`; quotes hold a word together, `#`
 * begins a comment (ssh_config(5) and argv_split of OpenSSH's misc.c). Empty for lines that say nothing.
 */
export const lineWords = (line: string): string[] => {
  const [, keyword, rest = ''] = /^\s*([^\s="#]+)\s*=?\s*(.*?)\s*$/su.exec(line) ?? []
  if (keyword === undefined) return []
  const words = [keyword]
  let word: string | undefined
  let quote: string | undefined
  for (let index = 0; index < rest.length; index += 1) {
    const character = rest[index] ?? ''
    const next = rest[index + 1] ?? ''
    if (character === '\\' && /["'\\]/u.test(next)) {
      word = (word ?? '') + next
      index += 1
    } else if (quote !== undefined) {
      if (character === quote) quote = undefined
      else word = (word ?? '') + character
    } else if (character === '"' || character === "'") {
      quote = character
      word ??= ''
    } else if (/\s/u.test(character)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else if (character === '#' && word === undefined) break
    else word = (word ?? '') + character
  }
  if (word !== undefined) words.push(word)
  return words
}
