import { describe, expect, test } from 'vitest'
import { count, list, printable, printableLines } from '../../src/base/text.js'

describe('text from elsewhere', () => {
  test.each([
    ['a colour', '\u001B[31mred\u001B[0m', '\\x1b[31mred\\x1b[0m'],
    ['the window title', '\u001B]0;owned\u0007', '\\x1b]0;owned\\x07'],
    ['the clipboard', '\u001B]52;c;AAAA\u001B\\', '\\x1b]52;c;AAAA\\x1b\\'],
    ['an eight-bit control', '\u009B31m', '\\x9b31m'],
    ['backspace and return', 'ab\b\rc', 'ab\\x08\\x0dc'],
    ['NUL, tab and newline', 'a\u0000b\tc\nd', 'a\\x00b\\x09c\\x0ad'],
    ['delete', '\u007F', '\\x7f'],
    ['the other reading direction', 'a\u202Eb\u2066c\u200F', 'a\\u202eb\\u2066c\\u200f'],
    ['a line separator', 'a\u2028b', 'a\\u2028b'],
  ])('%s is shown, not obeyed', (_, raw, shown) => {
    expect(printable(raw)).toBe(shown)
  })

  test('what people write stays as it is', () => {
    const text = 'Zürich – 東京 👩‍🚀 ~[x]\\'
    expect(printable(text)).toBe(text)
  })

  test('lines stay lines, everything else is escaped', () => {
    expect(printableLines('a\r\nb\n\u001B[2Jc\rd')).toBe('a\nb\n\\x1b[2Jc\\x0dd')
  })
})

test('amounts and lists read as a sentence does', () => {
  expect([0, 1, 2].map((amount) => count(amount, 'stream'))).toEqual(['0 streams', '1 stream', '2 streams'])
  expect([[], ['a'], ['a', 'b'], ['a', 'b', 'c']].map(list)).toEqual(['', 'a', 'a and b', 'a, b and c'])
})
