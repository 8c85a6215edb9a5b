import { lstat } from 'node:fs/promises'

/**
 * Which file a path named when it was looked at, whatever happens to the name. The time of birth is part of it
 * because a file system may give the inode number of a removed file to the very next one, as ext4 does.
 */
export interface FileIdentity {
  readonly dev: bigint
  readonly ino: bigint
  readonly birthtimeNs: bigint
}

/** @throws a system error, ENOENT when there is nothing */
export const identityOf = (path: string): Promise<FileIdentity> => lstat(path, { bigint: true })

export const same = (a: FileIdentity, b: FileIdentity): boolean =>
  a.dev === b.dev && a.ino === b.ino && a.birthtimeNs === b.birthtimeNs
