import { createPrivateKey, KeyObject } from 'node:crypto'
import { createRequire } from 'node:module'
import { Worker } from 'node:worker_threads'
import { unless } from '../../base/timeout.js'
import { keyOfContainer } from './container.js'
import type { KeyFile } from './key-file.js'

/** What came of a passphrase. */
export type Unlocked =
  | { readonly kind: 'open'; readonly key: KeyObject }
  | { readonly kind: 'wrong' }
  /** Neither right nor wrong: why, as a clause. */
  | { readonly kind: 'failed'; readonly why: string }

/** The key in a file that is not encrypted. @throws Error */
export const openKey = ({ text }: KeyFile): KeyObject =>
  isContainer(text) ? keyOfContainer(text) : createPrivateKey(text)

/**
 * Tries one passphrase. The work takes from a quarter of a second to many (bcrypt_pbkdf, ssh-keygen -a), so a
 * thread does it, which ends with it. The passphrase reaches it by message only, and is kept nowhere.
 * @throws the reason of `signal`
 */
export const unlock = async (
  { text }: KeyFile,
  passphrase: string,
  signal: AbortSignal,
): Promise<Unlocked> => {
  signal.throwIfAborted()
  const worker = new Worker(WORK, { eval: true, env: {}, argv: [], execArgv: [], name: 'unlock a key' })
  try {
    return await unless(
      [signal],
      answerOf(worker, { text, passphrase, ssh2: isContainer(text) ? SSH2 : null }),
    )
  } finally {
    await worker.terminate()
  }
}

const answerOf = (worker: Worker, work: object): Promise<Unlocked> =>
  new Promise((resolve) => {
    worker.once('message', resolve)
    worker.once('error', ({ message }) => resolve({ kind: 'failed', why: message }))
    worker.once('exit', () => resolve({ kind: 'failed', why: 'its thread ended' }))
    worker.postMessage(work, [])
  })

const isContainer = (text: string): boolean => text.includes('BEGIN OPENSSH PRIVATE KEY')

const SSH2 = createRequire(import.meta.url).resolve('ssh2')

// JavaScript in a string: a file of its own would be one more entry for the bundler, and could not be started
// from the sources. OpenSSL reads PEM and PKCS#8, ssh2 reads OpenSSH's own format.
const WORK = `
const { parentPort } = require('node:worker_threads')
const { createPrivateKey } = require('node:crypto')

const pemOf = (text, passphrase, ssh2) => {
  const parsed = require(ssh2).utils.parseKey(text, passphrase)
  if (parsed instanceof Error) throw parsed
  return parsed.getPrivatePEM()
}

// A wrong key passes the padding check once in 256 times; what comes out then is no key (ERR_OSSL_UNSUPPORTED).
const WRONG = /bad passphrase|unable to authenticate data/i
const WRONG_CODES = ['ERR_OSSL_BAD_DECRYPT', 'ERR_OSSL_EVP_BAD_DECRYPT', 'ERR_OSSL_UNSUPPORTED']

const outcome = ({ text, passphrase, ssh2 }) => {
  try {
    const key = ssh2
      ? createPrivateKey(pemOf(text, passphrase, ssh2))
      : createPrivateKey({ key: text, passphrase })
    return { kind: 'open', key }
  } catch (failure) {
    const wrong = WRONG.test(failure.message) || WRONG_CODES.includes(failure.code)
    return wrong || /^ERR_OSSL_ASN1/.test(failure.code) ? { kind: 'wrong' } : { kind: 'failed', why: failure.message }
  }
}

parentPort.once('message', (work) => parentPort.postMessage(outcome(work)))
`
