import { DproxyError } from '../../base/errors.js'
import { printable, shellWord } from '../../base/text.js'
import { sshLine } from '../ssh-line.js'
import { address, where, type Resolved } from '../target.js'

export const PROBE_RESULTS = ['listening', 'usable', 'denied', 'other', 'missing', 'unknown'] as const
/** What stands at the remote socket's path, as the remote user sees it; or that the user must first change a password. */
export type RemoteProbe = (typeof PROBE_RESULTS)[number] | 'password expired'

// RFC 4254 section 5.1: the reason of SSH_MSG_CHANNEL_OPEN_FAILURE.
const ADMINISTRATIVELY_PROHIBITED = 1

/** Tells apart why a stream to the remote socket could not be opened. */
export const cannotOpen = (
  resolved: Resolved,
  path: string,
  failure: unknown,
  probe: RemoteProbe,
): DproxyError => {
  const there = where(resolved)
  const details = { stage: 'engine', cause: failure } as const
  const enable = 'let sshd_config there say AllowStreamLocalForwarding yes'
  if (probe === 'password expired') {
    // Not an ENGINE_*: what sshd forbids it forbids for as long as this connection lasts.
    return new DproxyError(
      'LOGIN_REFUSED',
      `the password of ${resolved.user} has expired, and until it is changed sshd on ${there} lets nothing through`,
      { stage: 'login', cause: failure, hint: `change it there: ${sshLine(resolved)}` },
    )
  }
  if (reasonOf(failure) === ADMINISTRATIVELY_PROHIBITED) {
    return new DproxyError('FORWARDING_FORBIDDEN', `sshd on ${there} forbids forwarding to ${path}`, {
      ...details,
      hint: enable,
    })
  }
  switch (probe) {
    case 'missing':
      return new DproxyError('ENGINE_SOCKET_MISSING', `there is no ${path} on ${there}`, {
        ...details,
        hint: 'is Docker installed and running there (there: systemctl status docker)? name its socket with `remoteSocket:` or --remote-socket if it is elsewhere',
      })
    case 'denied':
      return new DproxyError(
        'ENGINE_SOCKET_DENIED',
        `${resolved.user} may not use ${path} on ${there}: permission denied`,
        {
          ...details,
          hint: `let the user in there: sudo usermod -aG docker ${resolved.user}, then: dproxy restart ${shellWord(resolved.typed)}`,
        },
      )
    case 'other':
      return new DproxyError('ENGINE_SOCKET_MISSING', `${path} on ${there} is not a socket`, {
        ...details,
        hint: "name the engine's socket with `remoteSocket:` or --remote-socket",
      })
    case 'listening':
      return new DproxyError(
        'FORWARDING_FORBIDDEN',
        `sshd on ${there} does not forward to ${path}, though something listens behind it`,
        { ...details, hint: enable },
      )
    case 'usable':
      return new DproxyError('ENGINE_DOWN', `no Docker daemon answers behind ${path} on ${there}`, {
        ...details,
        hint: `is it running there (${statusCommand(path)})? if it is, ${enable}`,
      })
    case 'unknown':
      return new DproxyError(
        'ENGINE_UNREACHABLE',
        `sshd on ${there} could not open ${path}: ${textOf(failure)}`,
        {
          ...details,
          hint: `check there that the path exists, that ${resolved.user} may use it, that Docker runs, and ${enable}`,
        },
      )
    default:
      return probe satisfies never
  }
}

/** How the state of the service behind a socket is asked for there, where systemd runs it. */
const statusCommand = (path: string): string => {
  const user = path.startsWith('/run/user/') || path.includes('/.docker/') ? ' --user' : ''
  return `systemctl${user} status ${path.includes('podman') ? 'podman.socket' : 'docker'}`
}

/** Why a jump host did not let us through to the next one. */
export const cannotGoOn = (
  jump: Resolved,
  next: Pick<Resolved, 'host' | 'port'>,
  failure: unknown,
): DproxyError => {
  const prohibited = reasonOf(failure) === ADMINISTRATIVELY_PROHIBITED
  return new DproxyError(
    'CONNECT_FAILED',
    prohibited
      ? `the jump host ${where(jump)} forbids connections to ${address(next)}`
      : `the jump host ${where(jump)} could not connect to ${address(next)}: ${textOf(failure)}`,
    {
      stage: 'connect',
      cause: failure,
      hint: prohibited
        ? 'let its sshd_config say AllowTcpForwarding yes, and PermitOpen name that address'
        : `try it there: ${sshLine(jump)} nc -vz ${next.host} ${next.port}`,
    },
  )
}

/** The server's reason code for a channel it did not open (RFC 4254 section 5.1); undefined for any other failure. */
export const reasonOf = (failure: unknown): unknown =>
  failure instanceof Error && 'reason' in failure ? failure.reason : undefined

/** What the server said of it, free of control characters. */
export const textOf = (failure: unknown): string =>
  printable(
    failure instanceof Error ? failure.message.replace('(SSH) Channel open failure: ', '') : String(failure),
  )
