import ssh2 from 'ssh2'

/** A fresh ed25519 key pair that is used for one run and never stored beyond it. */
export interface ThrowAwayKey {
  /** In OpenSSH's own format, not encrypted. */
  readonly privateKey: string
  /** The public key as it crosses the wire (RFC 8709, section 4). */
  readonly publicKeyBlob: Buffer
  /** `ssh-ed25519 AAAA…`, as known_hosts and authorized_keys spell it. */
  readonly publicKeyLine: string
}

// Two length words, the 11 letters of `ssh-ed25519`, the 32 bytes of the key.
const BLOB_LENGTH = 4 + 11 + 4 + 32

export const generateThrowAwayKey = (): ThrowAwayKey => {
  for (;;) {
    const { private: privateKey, public: publicKeyLine } = ssh2.utils.generateKeyPairSync('ed25519')
    const publicKeyBlob = Buffer.from(publicKeyLine.split(' ')[1] ?? '', 'base64')
    // ssh2 1.17 takes leading zero bytes off the key itself (lib/keygen.js), so one pair in 256 is broken.
    if (publicKeyBlob.length === BLOB_LENGTH) return { privateKey, publicKeyBlob, publicKeyLine }
  }
}
