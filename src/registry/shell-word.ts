import { printable } from '../base/text.js'

/** A path or name as one word to type into a POSIX shell, safe to print. */
export const shellWord = (word: string): string => {
  const shown = printable(word)
  return /^[\w@%+=:,./-]+$/u.test(shown) ? shown : `'${shown.replaceAll("'", `'\\''`)}'`
}
