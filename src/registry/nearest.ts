import { closest, distance } from 'fastest-levenshtein'

/**
 * The candidate most like `word`, whatever its case: for "did you mean".
 * Undefined when nothing is close. Close is one letter wrong, or a third of them, or two letters swapped.
 */
export const nearest = (word: string, candidates: readonly string[]): string | undefined => {
  // No name we know is longer than 63; comparing costs the product of both lengths.
  if (candidates.length === 0 || word.length > 128) return undefined
  const lower = word.toLowerCase()
  const found = closest(
    lower,
    candidates.map((candidate) => candidate.toLowerCase()),
  )
  const changes = distance(lower, found)
  const isClose = changes < word.length && changes <= Math.max(1, Math.floor(word.length / 3))
  const isSwap = changes === 2 && sortedLetters(lower) === sortedLetters(found)
  if (!isClose && !isSwap) return undefined
  return candidates.find((candidate) => candidate.toLowerCase() === found)
}

const sortedLetters = (word: string): string => word.split('').toSorted().join('')

/** `, did you mean "port"?`, or nothing. */
export const didYouMean = (word: string, candidates: readonly string[]): string => {
  const near = nearest(word, candidates)
  return near === undefined ? '' : `, did you mean "${near}"?`
}
