/**
 * The only doors to the heavy rooms: a command that needs none of them loads none of them, and the linter
 * keeps static imports of them out of this room.
 */
export const loadSupervisor = async () => ({
  ...(await import('../supervisor/run.js')),
  ...(await import('../supervisor/event-log.js')),
  ...(await import('../supervisor/crash/pause.js')),
})

export const loadDemo = async () => ({
  ...(await import('../demo/hosts.js')),
  ...(await import('../demo/traffic.js')),
  ...(await import('../demo/check.js')),
})

export const loadTrust = () => import('../supervisor/trust.js')

export const loadLockedKeys = () => import('../supervisor/locked-keys.js')

export const loadDoctor = () => import('../supervisor/doctor/examine.js')

// They start other programs, which takes a library that no other command needs.
export const loadSecretStores = () => import('../registry/secrets/open.js')

export const loadDockerContexts = () => import('../registry/import/docker-contexts.js')
