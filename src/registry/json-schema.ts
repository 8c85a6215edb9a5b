import { z } from 'zod'
import { ConfigFile } from './schema.js'

/** The JSON schema of a config file, for editors; `config.schema.json` at the top level holds it. */
export const configJsonSchema = (): unknown => z.toJSONSchema(ConfigFile, { io: 'input' })
