import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { asDproxyError, DproxyError, errnoOf } from '../../base/errors.js'
import { printable } from '../../base/text.js'
import { checkFile } from '../../registry/check.js'
import { fileToEdit, newFile, replaceText } from '../../registry/edit/edit.js'
import { sameNameKey } from '../../registry/host.js'
import { nearest } from '../../registry/nearest.js'
import { readConfigFile } from '../../registry/read-file.js'
import { text, type Command, type Words } from '../command.js'
import { say } from '../down.js'
import { makePlace, schemaOf, whereOf } from './file.js'
import type { Io } from '../io.js'
import { failureText, paintFor } from '../paint.js'

export const hostEdit: Command = {
  usage: 'edit [name]',
  summary: 'Edit your config file in $VISUAL or $EDITOR; only what loads replaces it',
  positionals: { name: 'The host to go to, in editors that take a line' },
  examples: [
    ['dproxy host edit', 'the whole file'],
    ['dproxy host edit prod', 'the same, at the line of prod'],
  ],
  run: async (words, io) => {
    const { ask } = io
    if (!ask) {
      throw new DproxyError('USAGE', 'editing needs a terminal, and there is none', {
        hint: 'for scripts: dproxy host add, and dproxy host rm --yes',
      })
    }
    const file = fileToEdit(whereOf(words, io))
    const before = await readConfigFile(file)
    const line = lineOf(text(words.name), file, before, io)
    await makePlace(file, io)
    const dir = await mkdtemp(join(io.env.TMPDIR || tmpdir(), 'dproxy-edit-'))
    const copy = join(dir, basename(file))
    const start = before ?? newFile(file, schemaOf(io))
    try {
      await writeFile(copy, start, { mode: 0o600 })
      const changed = await edited({ file, before, start, copy, line }, ask, io)
      await rm(dir, { recursive: true, force: true })
      return told(changed, file, words, io)
    } catch (failure) {
      await keep(copy, start, io)
      throw failure
    }
  },
}

interface Session {
  readonly file: string
  readonly before: string | undefined
  readonly start: string
  readonly copy: string
  readonly line: number | undefined
}

/** Lets the person edit until the text is right; true when the file was replaced, false without a change. */
const edited = async (
  { file, before, start, copy, line }: Session,
  ask: NonNullable<Io['ask']>,
  io: Io,
): Promise<boolean> => {
  for (;;) {
    await editor(copy, line, io)
    io.interrupted.throwIfAborted()
    const after = await readFile(copy, 'utf8')
    if (after === start) return false
    try {
      await replaceText(file, before, after, io.env)
      return true
    } catch (failure) {
      const error = asDproxyError(failure)
      if (error.code !== 'CONFIG_INVALID') throw failure
      io.err.write(failureText(error, paintFor(io.err)))
    }
    const answer = await ask('Edit again? [Y/n] ')
    if (/^no?$/iu.test(answer.trim()))
      throw new DproxyError('STOPPED', 'nothing was changed: what was saved would not load')
  }
}

/** Runs the editor and waits for its end. Its words are split at spaces, as sudoedit(8) does; no shell reads them. */
const editor = async (copy: string, line: number | undefined, { env }: Io): Promise<void> => {
  const [variable, value] = [
    ['$VISUAL', env.VISUAL],
    ['$EDITOR', env.EDITOR],
  ].find(([, given]) => given?.trim()) ?? ['the default', 'vi']
  const [program = 'vi', ...words] = (value ?? '').trim().split(/\s+/u)
  const place = line !== undefined && TAKES_A_LINE.includes(basename(program)) ? [`+${line}`] : []
  const child = spawn(program, [...words, ...place, copy], { stdio: 'inherit', env })
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.once('error', (cause) =>
      reject(
        new DproxyError(
          'USAGE',
          `the editor ${printable(program)} (${variable}) cannot be started: ${errnoOf(cause)}`,
          {
            hint: 'choose one that is installed: EDITOR=nano dproxy host edit',
            cause,
          },
        ),
      ),
    )
    child.once('exit', (...ended) => resolve(ended))
  })
  if (code === 0) return
  throw new DproxyError('STOPPED', `nothing was changed: the editor ended with ${signal ?? `code ${code}`}`)
}

const TAKES_A_LINE = ['vi', 'vim', 'nvim', 'nano', 'emacs', 'emacsclient', 'joe', 'kak', 'micro', 'ne']

const lineOf = (
  name: string | undefined,
  file: string,
  before: string | undefined,
  { env }: Io,
): number | undefined => {
  if (name === undefined) return undefined
  const { names } = checkFile(file, before ?? '', 'user', env)
  const found = [...names].find(([known]) => sameNameKey(known) === sameNameKey(name))
  if (found) return found[1]
  const near = nearest(name, [...names.keys()])
  const what = `no host of ${printable(file)} is named "${printable(name)}"`
  throw new DproxyError('HOST_UNKNOWN', near === undefined ? what : `${what}; did you mean "${near}"?`, {
    hint: 'dproxy host show tells which file each host is in; edit another one with --config FILE',
  })
}

/** Says where the copy is when what was typed would else be lost; without a change it goes. */
const keep = async (copy: string, start: string, io: Io): Promise<void> => {
  const after = await readFile(copy, 'utf8').catch(() => undefined)
  if (after === undefined || after === start) await rm(dirname(copy), { recursive: true, force: true })
  else io.err.write(`what you saved is kept in ${printable(copy)}\n`)
}

const told = (changed: boolean, file: string, words: Words, io: Io): number => {
  if (words.json) io.out.write(`${JSON.stringify({ schemaVersion: 1, file, changed })}\n`)
  say(io, words, changed ? `changed ${printable(file)}` : 'nothing was changed')
  return 0
}
