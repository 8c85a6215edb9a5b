/** Why the keychain cannot be used, each with what to do about it. */
import { DproxyError, errnoOf } from '../../base/errors.js'
import type { Env } from '../../base/paths.js'
import { printable } from '../../base/text.js'
import { BusError } from './dbus/bus.js'

const OTHERWISE =
  'keep secrets in an encrypted file: dproxy secret set NAME --store file, and `secretStore: file` in the config'

export const locked = (): DproxyError =>
  new DproxyError('SECRET_STORE_LOCKED', 'the keychain is locked, so what it holds cannot be seen', {
    hint: 'unlock it (log in to the desktop, or open its password manager), then try again',
  })

export const noCollection = (): DproxyError =>
  new DproxyError('SECRET_STORE_FAILED', 'the keychain has no keyring yet that new secrets could go to', {
    hint: `create a default keyring in the desktop's password manager; or ${OTHERWISE}`,
  })

export const noSession = ({ DBUS_SESSION_BUS_ADDRESS: address }: Env): DproxyError => {
  const why = address
    ? `DBUS_SESSION_BUS_ADDRESS is ${printable(address)}, and not a Unix socket`
    : 'DBUS_SESSION_BUS_ADDRESS is not set, as in a process started at boot or over ssh'
  return failure(`the keychain cannot be reached: there is no D-Bus session (${why})`, NEEDS_SESSION)
}

// A supervisor that runs already stays in the session, or outside of any, that it was started from.
const NEEDS_SESSION = `run this from within the desktop session (up: after dproxy down --all), or ${OTHERWISE}`

export const busFailure = (thrown: unknown): DproxyError => {
  if (thrown instanceof BusError) {
    if (thrown.code.endsWith('.ServiceUnknown') || thrown.code.endsWith('.NameHasNoOwner')) {
      return failure(
        'no keychain runs in this session (nobody offers org.freedesktop.secrets)',
        `install and start gnome-keyring, KWallet or KeePassXC; or ${OTHERWISE}`,
      )
    }
    return failure(`the keychain cannot be asked: ${printable(thrown.message || thrown.code)}`, OTHERWISE)
  }
  const errno = errnoOf(thrown)
  if (errno === undefined) return failure('the keychain gave an answer that makes no sense', OTHERWISE)
  return failure(`the keychain cannot be reached: D-Bus does not answer (${errno})`, NEEDS_SESSION)
}

/** @param changing it may have done all the same what it was asked to do */
export const tooSlow = (limitMs: number, changing: boolean): DproxyError =>
  failure(
    `the keychain did not answer within ${limitMs / 1000} s${changing ? '; whether it did what it was asked is not known' : ''}`,
    `look for a question of its own on the desktop, or restart it${changing ? ', and see what dproxy secret ls says' : ''}; or ${OTHERWISE}`,
  )

export const missingPackage = (cause: unknown): DproxyError =>
  failure(
    'the keychain cannot be used: the optional package "keytar" is not installed',
    `install dproxy again without --omit=optional; or ${OTHERWISE}`,
    cause,
  )

export const unloadable = (why: string): DproxyError => {
  const [, library] = /^(lib[\w.+-]+): cannot open shared object file/u.exec(why) ?? []
  if (library !== undefined) {
    const packages = library.startsWith('libsecret-1')
      ? 'the package libsecret-1-0 (Debian, Ubuntu) or libsecret (Fedora, Arch, Alpine)'
      : 'the package that brings it'
    return failure(
      `the keychain cannot be used: the system lacks the library ${library}`,
      `install ${packages}; or ${OTHERWISE}`,
    )
  }
  return failure(
    `the keychain cannot be used: keytar does not load here: ${printable(firstLine(why))}`,
    OTHERWISE,
  )
}

export const failed = (why: string): DproxyError =>
  failure(`the keychain refused: ${printable(firstLine(why))}`, OTHERWISE)

export const died = (how: string): DproxyError =>
  failure(`the keychain cannot be used: the process that asks it died (${how})`, OTHERWISE)

const failure = (message: string, hint: string, cause?: unknown): DproxyError =>
  new DproxyError('SECRET_STORE_FAILED', message, { hint, cause })

const firstLine = (text: string): string => text.split('\n')[0] ?? ''
