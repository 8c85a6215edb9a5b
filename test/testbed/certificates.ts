import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** A certificate authority of OpenSSH's kind (ssh-keygen(1), CERTIFICATES); its keys live in `dir`. */
export class CertificateAuthority {
  /** Its public key: what TrustedUserCAKeys and @cert-authority lines name. */
  readonly publicKeyFile: string
  readonly publicKey: string
  readonly #keyFile: string

  static async create(dir: string, name = 'ca'): Promise<CertificateAuthority> {
    const keyFile = join(dir, name)
    await keygen('-t', 'ed25519', '-N', '', '-C', '', '-f', keyFile)
    return new CertificateAuthority(keyFile, (await readFile(`${keyFile}.pub`, 'utf8')).trim())
  }

  private constructor(keyFile: string, publicKey: string) {
    this.#keyFile = keyFile
    this.publicKeyFile = `${keyFile}.pub`
    this.publicKey = publicKey
  }

  /**
   * Certifies a user's key for `principals`; returns the certificate's file, where ssh looks for it: beside the
   * private key, as `KEY-cert.pub`.
   */
  async certifyUser(keyFile: string, principals: readonly string[], validity = '+1h'): Promise<string> {
    return this.#certify(keyFile, principals, validity, [])
  }

  /** Certifies a host's key for `principals`, the names by which it is called. */
  async certifyHost(keyFile: string, principals: readonly string[], validity = '+1h'): Promise<string> {
    return this.#certify(keyFile, principals, validity, ['-h'])
  }

  async #certify(
    keyFile: string,
    principals: readonly string[],
    validity: string,
    kind: string[],
  ): Promise<string> {
    const words = ['-s', this.#keyFile, '-I', 'testbed', ...kind, '-n', principals.join(','), '-V', validity]
    await keygen(...words, `${keyFile}.pub`)
    return `${keyFile}-cert.pub`
  }
}

/** A key pair without a passphrase at `file`; returns the public half. */
export const makeKey = async (file: string): Promise<string> => {
  await keygen('-t', 'ed25519', '-N', '', '-C', '', '-f', file)
  return (await readFile(`${file}.pub`, 'utf8')).trim()
}

/** Locks the private key in `file` with a passphrase. */
export const lockKey = async (file: string, passphrase: string): Promise<void> => {
  await keygen('-p', '-P', '', '-N', passphrase, '-f', file)
}

const keygen = (...words: string[]) => promisify(execFile)('ssh-keygen', ['-q', ...words])
