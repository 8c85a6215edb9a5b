import type { Command } from './command.js'

export const demo: Command = {
  usage: 'demo',
  summary: 'Try dproxy without a server',
  run: async () => 0,
}
