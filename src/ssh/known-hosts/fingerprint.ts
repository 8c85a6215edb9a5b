import { createHash } from 'node:crypto'
import { orMalformed, WireReader } from './wire.js'

/** A key's fingerprint as `ssh-keygen -lf` prints it. */
export const fingerprint = (blob: Buffer): string =>
  `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/u, '')}`

/** The algorithm name at the head of a key in wire format; empty when it is not one. */
export const keyType = (blob: Buffer): string => orMalformed(() => new WireReader(blob).name()) ?? ''
