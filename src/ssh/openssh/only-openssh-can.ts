/**
 * Whether a handshake that ssh2 could not finish may succeed with the system's ssh: the reason as a clause
 * ("… ssh2 …"), or null when it would not help. `said` is ssh2's own text (lib/protocol/kex.js), or a message
 * that holds it.
 */
export const onlyOpensshCan = (said: unknown): string | null => {
  const text = said instanceof Error ? textOf(said) : String(said)
  const [, what] =
    /no matching (key exchange|host key|C->S cipher|S->C cipher|C->S MAC|S->C MAC)/u.exec(text) ?? []
  return what === undefined
    ? null
    : (REASONS[what] ?? `the server offers no ${what.slice(5)} that ssh2 knows`)
}

const REASONS: Readonly<Record<string, string>> = {
  'key exchange': 'the server offers no key exchange that ssh2 knows, perhaps only post-quantum ones',
  'host key': 'the server shows no kind of host key that ssh2 knows, perhaps only a certificate',
}

/** An error's message, and those of what caused it. */
const textOf = (failure: Error, depth = 0): string =>
  failure.cause instanceof Error && depth < DEEPEST
    ? `${failure.message}\n${textOf(failure.cause, depth + 1)}`
    : failure.message

const DEEPEST = 5
