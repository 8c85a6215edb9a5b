import type { Command } from '../command.js'
import { hostTest } from '../doctor/doctor.js'
import { hostAdd } from './add.js'
import { hostEdit } from './edit.js'
import { hostImport } from './import.js'
import { hostRm } from './rm.js'
import { hostShow } from './show.js'

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
