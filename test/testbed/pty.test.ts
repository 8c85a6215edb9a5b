import { expect, test } from 'vitest'
import { describeWith } from './describe-with.js'
import { Pty } from './pty.js'

describeWith(['script'], 'the terminal of the testbed', () => {
  test('is a terminal of the size it was given', async () => {
    await using terminal = Pty.start(['sh', '-c', 'tty && stty size'], { rows: 30, columns: 100 })
    await terminal.sees(/^\/dev\/\S+\r$/mu)
    await terminal.sees(/^30 100\r$/mu)
    expect(await terminal.exitCode).toBe(0)
  })

  test('takes what is typed, and passes the exit code on', async () => {
    await using terminal = Pty.start(['sh', '-c', 'read -r word && echo "<$word>" && exit 5'])
    terminal.type("it's $HOME\r")
    await terminal.sees(/^<it's \$HOME>\r$/mu)
    expect(await terminal.exitCode).toBe(5)
  })

  test('interrupts its command on Ctrl-C', async () => {
    await using terminal = Pty.start(['sh', '-c', 'echo ready; exec sleep 1000'])
    await terminal.sees(/^ready\r$/mu)
    terminal.type('\u0003')
    expect(await terminal.exitCode).toBe(130)
  })

  test('says what was on the screen when something does not appear', async () => {
    await using terminal = Pty.start(['sh', '-c', 'echo only this; sleep 1000'])
    await expect(terminal.sees(/that/u, 500)).rejects.toThrow('the screen shows: "only this\\r\\n"')
  })
})
