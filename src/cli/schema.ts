import { configJsonSchema } from '../registry/json-schema.js'
import type { Command } from './command.js'

/** Prints what `config.schema.json` must hold; for `npm run schema`. */
export const schema: Command = {
  usage: '__schema',
  run: async (_, io) => {
    io.out.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`)
    return 0
  },
}
