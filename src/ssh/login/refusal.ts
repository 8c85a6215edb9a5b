import { DproxyError } from '../../base/errors.js'
import { list, printable } from '../../base/text.js'
import { sshLine } from '../ssh-line.js'
import { LOGIN_METHODS, where } from '../target.js'
import type { Context } from './context.js'
import type { Problem, Story, Tried } from './story.js'

/**
 * Why a login failed, in one sentence: what the server was given and what it made of it, what we could not give,
 * and what it would still take.
 * @param last a clause that comes after all others
 */
export const refusalOf = (context: Context, last = ''): DproxyError => {
  const parts = [opening(context), ...stillTakes(context), ...reasons(context.story, 'answer'), last]
  const { code, hint } = verdict(context, last)
  return new DproxyError(code, parts.filter((part) => part !== '').join('; '), { stage: 'login', hint })
}

const opening = ({ resolved, story }: Context): string => {
  const to = printable(where(resolved))
  const deeds = deedsOf(story.tried)
  const noKey = reasons(story, 'key')
  if (deeds.length > 0) return [`${to} ${deeds.join(', then ')}`, ...noKey].join('; ')
  if (!story.accepts) return noKey.join('; ')
  const taken = printable(list(story.accepts)) || 'nothing'
  if (!story.accepts.some(isKnown)) return `${to} takes only ${taken}, which dproxy cannot do by itself`
  if (!story.accepts.includes('publickey')) return `${to} takes no keys, only ${taken}`
  return `there is no key to log in to ${to} with: ${noKey.join('; ') || 'no ssh-agent and no key file'}`
}

const deedsOf = (tried: readonly Tried[]): string[] => {
  const of = (kind: Tried['kind'], result: Tried['result']) =>
    tried.filter((each) => each.kind === kind && each.result === result).map(({ what }) => what)
  const refused = of('key', 'refused')
  const others = tried.length > refused.length
  const accepted = tried.filter(({ result }) => result === 'more').map(({ what }) => what)
  const denied = of('key', 'not admitted')
  return [
    ...(refused.length === 0 ? [] : [`refused ${amount(refused.length, others)}: ${list(refused)}`]),
    ...(accepted.length === 0 ? [] : [`accepted ${list(accepted)} as a first step`]),
    ...(denied.length === 0 ? [] : [`knew ${list(denied)} but did not let it in`]),
    ...of('answer', 'refused').map((what) => `refused ${what}`),
  ]
}

const amount = (keys: number, others: boolean): string =>
  others
    ? keys === 1
      ? 'one key'
      : `${keys} keys`
    : keys === 1
      ? 'the only key offered'
      : `all ${keys} keys offered`

const reasons = ({ stopped, problems }: Story, about: Problem['of']): string[] => {
  const first = typeof stopped === 'object' ? [stopped] : []
  return [...first, ...problems].filter((problem) => problem.of === about).map(({ why }) => why)
}

/** Methods that the server takes and that were neither tried nor are told of already. */
const stillTakes = ({ resolved, story }: Context): string[] => {
  const { accepts = [], answerRefused, tried } = story
  const others = accepts.filter((method) => isKnown(method) && method !== 'publickey')
  if (answerRefused || others.length === 0) return []
  const told = tried.length === 0 && !accepts.includes('publickey')
  const takes = told ? [] : [`it also takes ${list(others)}`]
  return others.some((method) => resolved.methods.some((ours) => ours === method))
    ? takes
    : [...takes, `your configuration leaves that out`]
}

const isKnown = (method: string): boolean => LOGIN_METHODS.some((ours) => ours === method)

const verdict = (context: Context, last: string): Pick<Problem, 'code' | 'hint'> => {
  const { resolved, story } = context
  const { stopped, problems, tried, accepts } = story
  if (typeof stopped === 'object') return stopped
  const answer = tried.find(({ kind, result }) => kind === 'answer' && result === 'refused')
  if (answer) return { code: 'LOGIN_REFUSED', hint: answer.hint ?? '' }
  if (tried.some(({ result }) => result === 'not admitted')) return notAdmitted(context)
  if (/too many/iu.test(last)) return tooMany
  for (const code of ['LOGIN_PASSPHRASE', 'LOGIN_UNSUPPORTED', 'LOGIN_NEEDS_PERSON'] as const) {
    const problem = problems.find((each) => each.code === code)
    if (problem) return problem
  }
  const [problem] = problems
  if (problem) return tried.length === 0 ? problem : { code: 'LOGIN_REFUSED', hint: problem.hint }
  if (accepts && !accepts.some(isKnown)) return leaveToOpenssh
  const hint =
    tried.length > 0
      ? `is the user name right, and the key in that user's authorized_keys? try: ${sshLine(resolved)}`
      : 'start an ssh-agent and ssh-add a key, or name one with `identityFile:` or --ssh-key'
  return { code: 'LOGIN_REFUSED', hint: printable(hint) }
}

const notAdmitted = ({ resolved }: Context): Pick<Problem, 'code' | 'hint'> => ({
  code: 'LOGIN_REFUSED',
  hint: printable(
    `may ${resolved.user} log in there at all? its sshd_config (PermitRootLogin, AllowUsers) and its log tell: journalctl -u ssh`,
  ),
})

const tooMany = {
  code: 'LOGIN_REFUSED',
  hint: 'name the right key with `identityFile:` and `identitiesOnly: true`, or load fewer keys into the agent',
} as const

const leaveToOpenssh = {
  code: 'LOGIN_UNSUPPORTED',
  hint: "leave it to the system's ssh: set `transport: openssh` for this host",
} as const
