import { AsyncLocalStorage } from 'node:async_hooks'

const current = new AsyncLocalStorage<string>()

/** Runs `work`; whatever comes of it later, callbacks and events included, is done on behalf of `host`. */
export const onBehalfOf = <T>(host: string, work: () => T): T => current.run(host, work)

/** On whose behalf the present code runs; to be asked where an exception that nobody caught arrives. */
export const hostAtFault = (): string | undefined => current.getStore()
