import { list } from '../base/text.js'

const MOST = 10

/** `a, b and c`; of many names the first ten: `a, b, …, j and 5 more`. */
export const listSome = (names: readonly string[]): string =>
  list(names.length > MOST ? [...names.slice(0, MOST), `${names.length - MOST} more`] : names)
