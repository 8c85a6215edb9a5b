import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { DproxyError, errnoOf } from '../../base/errors.js'
import type { Env } from '../../base/paths.js'
import { inTurn } from '../config/program-turns.js'

/**
 * The version of the installed OpenSSH, as 9.2; 0 for an `ssh` that is not OpenSSH's or does not say.
 * @throws DproxyError NOT_SUPPORTED when there is no `ssh`
 */
export const sshVersion = async (env: Env, signal: AbortSignal): Promise<number> => {
  try {
    // It answers on stderr.
    const ask = () => promisify(execFile)('ssh', ['-V'], { env, signal, timeout: LIMIT_MS })
    const { stderr } = await inTurn(ask, signal)
    return Number(/OpenSSH_(?:for_Windows_)?(\d+\.\d+)/u.exec(stderr)?.[1] ?? 0)
  } catch (failure) {
    signal.throwIfAborted()
    if (errnoOf(failure) !== 'ENOENT') return 0
    throw new DproxyError(
      'NOT_SUPPORTED',
      'the openssh transport needs the program ssh, which is not installed',
      {
        stage: 'resolve',
        hint: 'install it (Debian, Ubuntu: apt install openssh-client), or set `transport: ssh2`',
        cause: failure,
      },
    )
  }
}

const LIMIT_MS = 5000
