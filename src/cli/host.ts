import type { Command } from './command.js'
import { hostTest } from './doctor.js'
import { hostAdd } from './host-add.js'
import { hostEdit } from './host-edit.js'
import { hostImport } from './host-import.js'
import { hostRm } from './host-rm.js'
import { hostShow } from './host-show.js'

export const host: Command = {
  usage: 'host',
  summary: 'Show and change the hosts of your config file',
  subcommands: [hostAdd, hostShow, hostEdit, hostRm, hostTest, hostImport],
  examples: [
    ['dproxy host add prod ssh://deploy@prod.example.com', 'a host of your own'],
    ['dproxy host import --ssh-config', 'the hosts that ssh knows: shows them and asks once'],
    ["dproxy host import --ssh-config 'prod-*'", 'only those that match, without asking'],
    ['dproxy host show', 'what there is, and where it is written'],
  ],
}
