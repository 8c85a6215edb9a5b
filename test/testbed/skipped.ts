/** Marks the title of tests that do not run here; the reason follows. */
export const skippedTitle = (title: string, why: string): string => `${title}${SKIPPED}${why})`
export const SKIPPED = ' (skipped: '
