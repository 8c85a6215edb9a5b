/** The host key of a server, for `dproxy trust`: looked at, and stored once a person has accepted it. */
import type { HostDefinition } from '../control/messages.js'
import { fingerprint, keyType } from '../ssh/known-hosts/fingerprint.js'
import { refusalOf } from '../ssh/known-hosts/host-key.js'
import type { KnownKey } from '../ssh/known-hosts/lines.js'
import { learnHostKey } from '../ssh/known-hosts/learn.js'
import { lookAtHostKey } from '../ssh/look-at-host-key.js'
import { openBySsh2 } from '../ssh/open-lane.js'
import { address } from '../ssh/target.js'
import type { DproxyError } from '../base/errors.js'
import { optionsFromHere, type FromHere } from './from-here.js'

/** A public key as people compare it. */
export interface ShownKey {
  readonly type: string
  /** As `ssh-keygen -lf` prints it. */
  readonly fingerprint: string
}

export interface TrustLook {
  /** `host:port` */
  readonly address: string
  readonly shown: ShownKey
  readonly verdict: 'known' | 'unknown' | 'unknown-ca' | 'changed' | 'revoked'
  /** The lines that the verdict rests on. */
  readonly lines: readonly (ShownKey & { readonly file: string; readonly line: number })[]
  /** Why the key cannot be accepted here; null when it is known, or a person may accept it. */
  readonly refusal: DproxyError | null
  /** Stores the key; only for a key that is unknown. @throws DproxyError HOST_KEY_* */
  readonly accept: () => Promise<{ readonly file: string; readonly line: number }>
}

/** @throws DproxyError of the stage that failed */
export const lookForTrust = async (definition: HostDefinition, from: FromHere): Promise<TrustLook> => {
  const { resolved, shown, verdict } = await lookAtHostKey(
    definition,
    optionsFromHere(definition, from),
    openBySsh2,
  )
  return {
    address: address(resolved),
    shown: shownKey(shown),
    verdict: verdict.kind,
    lines: 'lines' in verdict ? verdict.lines.map(placed) : [],
    refusal: verdict.kind === 'unknown' ? null : (refusalOf(resolved, verdict, shown) ?? null),
    accept: () => learnHostKey(resolved, shown),
  }
}

const shownKey = (blob: Buffer): ShownKey => ({ type: keyType(blob), fingerprint: fingerprint(blob) })

const placed = ({ file, line, blob }: KnownKey) => ({ file, line, ...shownKey(blob) })
