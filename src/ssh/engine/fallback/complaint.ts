import { printable } from '../../../base/text.js'

const LONGEST = 300

// What socat puts in front of what it says: the time, itself, and how much it matters. A notice matters to nobody.
const SOCAT = /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d socat\[\d+\] (?:N .*|[A-Z] )/u

/** The last line that a command has said on its error output, printable; empty when it said nothing. */
export const lastWords = (complaint: string): string => {
  const lines = complaint.split(/[\r\n]+/u).map((line) => line.trim().replace(SOCAT, ''))
  return printable(lines.findLast((line) => line !== '')?.slice(0, LONGEST) ?? '')
}

/** How a command ended that did not do so by itself and well, as a clause. */
export const howItEnded = (exit: number | string | null, complaint: string): string => {
  const said = lastWords(complaint)
  const how =
    exit === null
      ? 'ended without saying how'
      : typeof exit === 'string'
        ? `was ended by ${printable(exit)}`
        : `ended with ${exit}`
  return said === '' ? how : `${how}: ${said}`
}
