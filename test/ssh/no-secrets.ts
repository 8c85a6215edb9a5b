import type { StoredSecrets } from '../../src/ssh/person.js'

/** Nothing is stored for the host `prod`. */
export const NO_SECRETS: StoredSecrets = {
  passphrase: async () => ({ kind: 'none' }),
  password: async () => ({ kind: 'none' }),
  toStore: (kind) => `dproxy secret set prod${kind === 'passphrase' ? ' --passphrase' : ''}`,
}
