import { LOGIN_METHODS, type LoginMethod } from '../target.js'
import type { SshConfig } from './ssh-config.js'

/** The methods of logging in that ssh would try and we know, in its order; all of ours where it says nothing. */
export const methodsOf = (config: SshConfig): readonly LoginMethod[] => {
  // ssh's own order (ssh_config(5), PreferredAuthentications) is that of LOGIN_METHODS.
  const preferred = config.one('preferredauthentications')?.split(',') ?? LOGIN_METHODS
  return preferred.filter(isKnown).filter((method) => isOn(config, method))
}

/** Whether ssh would try `method` at all, one of ours or not. */
export const wouldTry = (config: SshConfig, method: string): boolean =>
  config.one('preferredauthentications')?.split(',').includes(method) ?? true

const isKnown = (method: string): method is LoginMethod => LOGIN_METHODS.some((known) => known === method)

const isOn = (config: SshConfig, method: LoginMethod): boolean => {
  const asksPerson = method !== 'publickey'
  if (asksPerson && config.says('batchmode')) return false
  return config.one(SWITCH_OF[method]) !== 'no' && config.one(SWITCH_OF[method]) !== 'false'
}

const SWITCH_OF = {
  publickey: 'pubkeyauthentication',
  'keyboard-interactive': 'kbdinteractiveauthentication',
  password: 'passwordauthentication',
} as const satisfies Record<LoginMethod, string>
