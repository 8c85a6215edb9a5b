import { createHash } from 'node:crypto'

/** 64 hexadecimal digits that depend on `parts` alone: an id, as Docker writes them. */
export const hexId = (...parts: readonly (string | number)[]): string =>
  createHash('sha256').update(parts.join('\0')).digest('hex')

/** A number from 0 up to, not including, 1 that depends on `parts` alone. */
export const fraction = (...parts: readonly (string | number)[]): number =>
  Number.parseInt(hexId(...parts).slice(0, 12), 16) / 2 ** 48

/** A whole number from `low` to `high`, both included, that depends on `parts` alone. */
export const between = (low: number, high: number, ...parts: readonly (string | number)[]): number =>
  low + Math.floor(fraction(...parts) * (high - low + 1))

/** One of `choices`, always the same for the same `parts`. */
export const pick = <T>(choices: readonly [T, ...T[]], ...parts: readonly (string | number)[]): T =>
  choices[between(0, choices.length - 1, ...parts)] ?? choices[0]
