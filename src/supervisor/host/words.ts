import type { DproxyError, Stage } from '../../base/errors.js'
import { printable } from '../../base/text.js'

/** `dproxy: prod: login: deploy@… refused the only key offered (…)`: what a Docker client is told. */
export const explain = (name: string, error: DproxyError): string => {
  const hint = error.hint === undefined ? '' : ` (${error.hint})`
  // Docker's own command line prints this as it is.
  return printable(`dproxy: ${name}: ${stageOf(error.stage)}${error.message}${hint}`)
}

/** `login: deploy@… refused the only key offered`, or `otherwise` when nothing is known to have failed. */
export const sentence = (error: DproxyError | undefined, otherwise: string): string =>
  error ? `${stageOf(error.stage)}${error.message}` : otherwise

const stageOf = (stage: Stage | undefined): string => (stage ? `${stage}: ` : '')
