import { existsSync } from 'node:fs'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Desk } from './support.js'

const CONFIG = '# mine\nhosts:\n  prod: {ssh: prod}\n\n  lab: {ssh: lab}\n'

const configOf = (desk: Desk): string => join(desk.dir, '.config/dproxy/config.yaml')
const textOf = (desk: Desk): Promise<string> => readFile(configOf(desk), 'utf8')

/** A person with an editor: each time it runs, the next script changes the file `$1`, its last word. */
const editing = async (desk: Desk, ...scripts: string[]): Promise<string> => {
  for (const [index, script] of scripts.entries())
    await writeFile(join(desk.dir, `step-${index}`), script, { mode: 0o700 })
  const editor = join(desk.dir, 'editor')
  await writeFile(
    editor,
    `#!/bin/sh
for word; do last=$word; done
echo "$@" >> ${desk.dir}/runs
step=$(($(wc -l < ${desk.dir}/runs) - 1))
exec sh ${desk.dir}/step-$step "$last"
`,
    { mode: 0o700 },
  )
  desk.env.EDITOR = editor
  desk.env.PATH = process.env.PATH ?? ''
  // What is kept for the person goes with the test.
  desk.env.TMPDIR = desk.dir
  desk.answer = 'y'
  return editor
}

/** The words of each run of the editor. */
const runsOf = async (desk: Desk): Promise<string[]> =>
  (await readFile(join(desk.dir, 'runs'), 'utf8')).trim().split('\n')

test('what was saved is the file, its mode kept, and the copy is gone', async () => {
  await using desk = await Desk.create(CONFIG)
  await editing(
    desk,
    'stat -c %a "$1" > "$1.mode"; cp "$1.mode" "$HOME/mode"; echo "  new: {ssh: new}" >> "$1"',
  )
  const { mode } = await stat(configOf(desk))
  expect(await desk.runs('host', 'edit')).toEqual({ code: 0, out: '', err: `changed ${configOf(desk)}\n` })
  expect(await textOf(desk)).toBe(`${CONFIG}  new: {ssh: new}\n`)
  expect((await stat(configOf(desk))).mode).toBe(mode)
  const [copy = ''] = await runsOf(desk)
  expect(copy.endsWith('/config.yaml')).toBe(true)
  expect(existsSync(copy)).toBe(false)
  expect(await readFile(join(desk.dir, 'mode'), 'utf8')).toBe('600\n')
})

test('an editor that saves nothing changes nothing', async () => {
  await using desk = await Desk.create(CONFIG)
  await editing(desk, ':')
  expect(await desk.runs('host', 'edit')).toEqual({ code: 0, out: '', err: 'nothing was changed\n' })
  expect(await textOf(desk)).toBe(CONFIG)
})

test('all that is wrong is told, and the same text is edited again', async () => {
  await using desk = await Desk.create(CONFIG)
  await editing(desk, 'echo "  a: {shs: x, tags: 7}" >> "$1"', 'sed -i "s/shs/ssh/; s/, tags: 7//" "$1"')
  const { code, err } = await desk.runs('host', 'edit')
  expect(code).toBe(0)
  expect(err).toContain('line 6: hosts.a: unknown key "shs", did you mean "ssh"?')
  expect(err).toContain('line 6: hosts.a.tags: must be a list of words')
  expect(await textOf(desk)).toBe(`${CONFIG}  a: {ssh: x}\n`)
  expect(await runsOf(desk)).toHaveLength(2)
})

test('whoever gives up keeps what was typed, in a file that is named', async () => {
  await using desk = await Desk.create(CONFIG)
  await editing(desk, 'echo "  a: [" >> "$1"')
  desk.answer = 'n'
  const { code, err } = await desk.runs('host', 'edit')
  expect(code).toBe(1)
  expect(err).toContain('nothing was changed: what was saved would not load')
  const [, kept = ''] = /what you saved is kept in (.+)\n/u.exec(err) ?? []
  expect(await readFile(kept, 'utf8')).toBe(`${CONFIG}  a: [\n`)
  expect(await textOf(desk)).toBe(CONFIG)
})

test('what somebody else wrote meanwhile stays, and what was typed is kept', async () => {
  await using desk = await Desk.create(CONFIG)
  await editing(desk, 'echo "  a: {ssh: a}" >> "$1"; echo "# theirs" >> "$HOME/.config/dproxy/config.yaml"')
  const { code, err } = await desk.runs('host', 'edit')
  expect(code).toBe(1)
  expect(err).toContain(`somebody else changed ${configOf(desk)} at the same time`)
  const [, kept = ''] = /what you saved is kept in (.+)\n/u.exec(err) ?? []
  expect(await readFile(kept, 'utf8')).toBe(`${CONFIG}  a: {ssh: a}\n`)
  expect(await textOf(desk)).toBe(`${CONFIG}# theirs\n`)
})

test('an editor that fails changes nothing', async () => {
  await using desk = await Desk.create(CONFIG)
  await editing(desk, 'echo "  a: {ssh: a}" >> "$1"; exit 3', 'kill -9 $$')
  const { code, err } = await desk.runs('host', 'edit')
  expect(code).toBe(1)
  expect(err).toContain('nothing was changed: the editor ended with code 3')
  expect(err).toContain('what you saved is kept in ')
  expect((await desk.runs('host', 'edit')).err).toBe(
    'dproxy: nothing was changed: the editor ended with SIGKILL\n',
  )
  expect(await textOf(desk)).toBe(CONFIG)
})

test('VISUAL comes before EDITOR, its words are split at spaces, and no shell reads them', async () => {
  await using desk = await Desk.create(CONFIG)
  const editor = await editing(desk, ':')
  desk.env.VISUAL = `${editor}  --wait  $(touch ${desk.dir}/pwned);`
  desk.env.EDITOR = '/bin/false'
  expect((await desk.runs('host', 'edit')).code).toBe(0)
  expect((await runsOf(desk))[0]).toMatch(/^--wait \$\(touch .*\/pwned\); \/.*\/config\.yaml$/u)
  expect(existsSync(join(desk.dir, 'pwned'))).toBe(false)
})

test('an editor that is not installed is named, with where its name comes from', async () => {
  await using desk = await Desk.create(CONFIG)
  await editing(desk)
  desk.env.EDITOR = 'no-such-editor'
  expect(await desk.runs('host', 'edit')).toMatchObject({
    code: 2,
    err: expect.stringContaining('the editor no-such-editor ($EDITOR) cannot be started: E'),
  })
})

test('a name goes to its line in editors that take one, even when the file does not load', async () => {
  await using desk = await Desk.create(`${CONFIG}  broken: {shs: x}\n`)
  const editor = await editing(desk, ':', ':', ':')
  await desk.runs('host', 'edit', 'LAB')
  const nano = join(desk.dir, 'nano')
  await writeFile(nano, await readFile(editor), { mode: 0o700 })
  desk.env.EDITOR = nano
  await desk.runs('host', 'edit', 'LAB')
  await desk.runs('host', 'edit', 'broken')
  expect((await runsOf(desk)).map((words) => words.replace(/\/.*/u, 'FILE'))).toEqual([
    'FILE',
    '+5 FILE',
    '+6 FILE',
  ])
  expect(await desk.runs('host', 'edit', 'lba')).toMatchObject({
    code: 2,
    err: expect.stringContaining('did you mean "lab"?'),
  })
})

test('off a terminal there is nobody to edit', async () => {
  await using desk = await Desk.create(CONFIG)
  desk.env.EDITOR = '/bin/false'
  const { code, err } = await desk.runs('host', 'edit')
  expect(code).toBe(2)
  expect(err).toContain('editing needs a terminal, and there is none')
})

test('a file that is not there begins with the line that teaches editors', async () => {
  await using desk = await Desk.create()
  await editing(desk, ':', 'sed -i "s/{}/{a: {ssh: a}}/" "$1"')
  expect((await desk.runs('host', 'edit')).err).toBe('nothing was changed\n')
  expect(existsSync(configOf(desk))).toBe(false)
  expect((await desk.runs('host', 'edit')).code).toBe(0)
  expect(await textOf(desk)).toMatch(/^# yaml-language-server: .*\n.*\nhosts: \{a: \{ssh: a\}\}\n$/u)
})
