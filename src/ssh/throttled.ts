import { DproxyError } from '../base/errors.js'
import { address, type Resolved } from './target.js'

/**
 * What sshd says before it hangs up on a connection that it takes no login from for now (openssh-portable,
 * drop_connection in sshd.c), and for how long to leave it in peace then.
 */
const TURNS_AWAY = [
  {
    said: 'Exceeded MaxStartups',
    why: 'too many connections to it are waiting for their login',
    hint: 'who else logs in there all the time (there: journalctl -u ssh)? it may also allow more: MaxStartups in its sshd_config',
    // Those that wait log in, or are cut off.
    retryAfterMs: 2000,
  },
  {
    // From OpenSSH 9.8 on, for that and for a penalty alike. A penalty is 15 s at least (sshd_config(5)), and
    // trying meanwhile does not make it longer.
    said: 'Not allowed at this time',
    why: 'your address has a penalty for failed logins there, or too many connections wait for theirs',
    hint: 'give it half a minute; its log tells (there: journalctl -u ssh), see PerSourcePenalties and MaxStartups in sshd_config(5)',
    retryAfterMs: 20_000,
  },
] as const

/**
 * The server takes no login now, though it may later; undefined when what it said is something else.
 * @param before what it said instead of naming its software
 */
export const throttled = (resolved: Resolved, before: string): DproxyError | undefined => {
  const found = TURNS_AWAY.find(({ said }) => before.includes(said))
  if (!found) return undefined
  const { said, why, hint, retryAfterMs } = found
  const message = `${address(resolved)} takes no login for now: ${why} (it said: ${said})`
  return new DproxyError('LOGIN_THROTTLED', message, { stage: 'login', hint, retryAfterMs })
}
