/** What reading a piece of text led to: a value, or what is wrong with the text (`must be …`). */
export type Parsed<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string }

export const good = <T>(value: T): Parsed<T> => ({ ok: true, value })
export const bad = (problem: string): Parsed<never> => ({ ok: false, problem })
