// What a terminal would obey instead of showing: C0 and C1 controls, DEL, and the bidirectional overrides
// that can make one text look like another (Unicode TR36, CVE-2021-42574).
// eslint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu

/**
 * Text from a remote, a file or a name, made safe to print on one line: each control character becomes a
 * visible `\x1b`-like escape, so nothing is hidden and nothing is obeyed.
 */
export const printable = (text: string): string =>
  text.replace(UNSAFE, (character) => {
    const code = character.codePointAt(0) ?? 0
    return code < 256
      ? `\\x${code.toString(16).padStart(2, '0')}`
      : `\\u${code.toString(16).padStart(4, '0')}`
  })

/** As {@link printable}, for text of several lines: newlines stay, everything else is escaped. */
export const printableLines = (text: string): string => text.split(/\r?\n/u).map(printable).join('\n')

/** A word as any POSIX shell takes it when it is pasted (POSIX 2.2.2), safe to print. */
export const shellWord = (word: string): string => {
  const shown = printable(word)
  return /^[\w@%+=:,./-]+$/u.test(shown) ? shown : `'${shown.replaceAll("'", `'\\''`)}'`
}

/** `1 stream`, `2 streams`. */
export const count = (amount: number, noun: string): string => `${amount} ${noun}${amount === 1 ? '' : 's'}`

/** `a`, `a and b`, `a, b and c`. */
export const list = (words: readonly string[]): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`
