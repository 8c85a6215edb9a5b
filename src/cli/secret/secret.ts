import { STORE_NAMES } from '../../registry/secrets/store.js'
import type { Command } from '../command.js'
import { listSecrets } from './ls.js'
import { removeSecret } from './rm.js'
import { setSecret } from './set.js'

const PASSPHRASE = {
  type: 'boolean',
  default: false,
  describe: "The passphrase of the host's private key, instead of its password",
} as const

const STORE = {
  type: 'string',
  choices: STORE_NAMES,
  requiresArg: true,
  describe: 'Where: the keychain, or the encrypted file; default: what secretStore in the config says',
} as const

const ALIAS = {
  type: 'boolean',
  default: false,
  describe: "The name is an alias or address as ssh takes it, such as a jump host's",
} as const

export const secret: Command = {
  usage: 'secret',
  summary: 'Keep passwords and passphrases in the keychain or an encrypted file',
  examples: [
    ['dproxy secret set prod', 'asks for the password of prod, and stores it'],
    ['dproxy secret ls', 'what is stored; never the secrets themselves'],
  ],
  subcommands: [
    {
      usage: 'set <name>',
      summary: 'Store the password of a host, or the passphrase of its key',
      positionals: { name: 'The host' },
      options: {
        passphrase: PASSPHRASE,
        store: STORE,
        stdin: { type: 'boolean', default: false, describe: 'Read it from standard input instead of asking' },
        alias: ALIAS,
      },
      examples: [
        ['dproxy secret set prod', 'asks for the login password, twice'],
        ['dproxy secret set prod --passphrase', 'asks for the passphrase of its key, and tries it'],
        ['pass show prod | dproxy secret set prod --stdin', 'without being asked'],
        ['dproxy secret set bastion --alias', "a jump host that only ssh's own configuration knows"],
      ],
      run: setSecret,
    },
    {
      usage: 'ls',
      summary: 'List what is stored, without the secrets',
      options: { store: STORE },
      examples: [
        ['dproxy secret ls', 'whose secrets there are, and where'],
        ['dproxy secret ls --json', 'for programs'],
      ],
      run: listSecrets,
    },
    {
      usage: 'rm <name>',
      summary: 'Remove the stored password of a host, or the passphrase of its key',
      positionals: { name: 'The host' },
      options: { passphrase: PASSPHRASE, store: STORE, alias: ALIAS },
      examples: [
        ['dproxy secret rm prod', 'removes its password'],
        ['dproxy secret rm prod --passphrase', 'removes the passphrase of its key'],
      ],
      run: removeSecret,
    },
  ],
}
