import { shellWord } from '../base/text.js'
import type { Resolved } from './target.js'

/**
 * What to type to try the same login with ssh itself. By the name that the user wrote, so that whatever ssh's own
 * configuration says of it counts there too.
 */
export const sshLine = (
  { alias, port, user, identityFiles, identitiesNamed }: Resolved,
  ...flags: readonly string[]
): string => {
  const keys = identitiesNamed ? identityFiles.flatMap((file) => ['-i', file]) : []
  return ['ssh', ...flags, ...keys, '-p', String(port), `${user}@${alias}`].map(shellWord).join(' ')
}
