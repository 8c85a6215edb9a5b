import { createLogUpdate } from 'log-update'
import type { Output } from './io.js'

/** Draws text in place on a terminal, each call over the last; `clear` takes it away. */
export const redrawing = (output: Output): { (text: string): void; clear(): void } => {
  const { isTTY, columns, rows } = output
  const stream = { isTTY, columns, rows, write: (text: string) => (output.write(text), true) }
  // log-update needs no more of a stream than this.
  return createLogUpdate(stream as unknown as NodeJS.WriteStream, { showCursor: true })
}
