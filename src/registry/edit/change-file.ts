import { randomBytes } from 'node:crypto'
import { link, lstat, open, readlink, realpath, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { DproxyError, errnoOf } from '../../base/errors.js'
import { exclusively } from '../../base/exclusively.js'
import { printable, shellWord } from '../../base/text.js'
import { LARGEST_BYTES, readConfigFile } from '../read-file.js'

/** Makes a file's new text from its present one; undefined when there is no file yet. Throws to refuse. */
export type Change = (before: string | undefined) => string | Promise<string>

/**
 * Replaces the text of a config file as a whole or not at all: other processes read the old text or the new one,
 * and of two changes at once none is lost. Mode and owner stay; a link stays a link, and its target is changed.
 * A file that is made anew is the user's alone (0600); its directory must be there.
 * @returns the path of the file itself, where `path` is a link
 * @throws what `change` throws; DproxyError CONFIG_CHANGED when somebody else changed the file meanwhile,
 * CONFIG_INVALID when others may write to it, OUTPUT_FAILED when it cannot be written: then it is as it was
 */
export const changeConfigFile = async (path: string, change: Change): Promise<string> => {
  const target = await behindLinks(path)
  try {
    await exclusively(`${target}.lock`, async () => {
      const before = await readConfigFile(target)
      const after = await change(before)
      if (after !== before) await replace(target, before, after)
    })
  } catch (failure) {
    throw explained(target, failure)
  }
  return target
}

const behindLinks = async (path: string): Promise<string> => {
  const found = await lstat(path).catch(() => undefined)
  if (found?.isSymbolicLink() !== true) return path
  try {
    return await realpath(path)
  } catch (cause) {
    const to = printable(await readlink(path))
    throw new DproxyError('CONFIG_MISSING', `${printable(path)} is a link to ${to}, which does not exist`, {
      hint: 'create that file, or remove the link',
      cause,
    })
  }
}

const replace = async (target: string, before: string | undefined, after: string): Promise<void> => {
  if (Buffer.byteLength(after) > LARGEST_BYTES) {
    throw new DproxyError('CONFIG_INVALID', `${printable(target)} would be larger than 256 KiB`, {
      hint: 'nothing was written; spread the hosts over several files',
    })
  }
  // In the same directory, since rename(2) works within one file system.
  const aside = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString('hex')}`)
  try {
    await writeBeside(aside, target, after, before !== undefined)
    if ((await readConfigFile(target)) !== before) throw changedMeanwhile(target)
    // link(2) takes no name that is taken.
    if (before === undefined) await link(aside, target)
    else await rename(aside, target)
  } finally {
    await unlink(aside).catch(() => undefined)
  }
  await synced(dirname(target))
}

const writeBeside = async (aside: string, target: string, text: string, exists: boolean): Promise<void> => {
  const file = await open(aside, 'wx', 0o600)
  try {
    if (exists) {
      const [own, wanted] = [await file.stat(), await stat(target)]
      if (own.uid !== wanted.uid || own.gid !== wanted.gid) await file.chown(wanted.uid, wanted.gid)
      await file.chmod(wanted.mode & 0o7777)
    }
    await file.writeFile((exists && (await beginsWithMark(target)) ? MARK : '') + text)
    await file.sync()
  } finally {
    await file.close()
  }
}

// The byte order mark that Windows editors put before UTF-8 text; who reads the file leaves it out.
const MARK = '\uFEFF'

const beginsWithMark = async (path: string): Promise<boolean> => {
  const file = await open(path, 'r')
  try {
    const { buffer } = await file.read(Buffer.alloc(3), 0, 3, 0)
    return buffer.equals(Buffer.from(MARK))
  } finally {
    await file.close()
  }
}

/** Without this a power cut may bring the old name back; some file systems cannot, and lose nothing else. */
const synced = async (dir: string): Promise<void> => {
  const handle = await open(dir, 'r').catch(() => undefined)
  await handle?.sync().catch(() => undefined)
  await handle?.close()
}

/** The refusal of a change that was made of a text which is no longer the file's. */
export const changedMeanwhile = (path: string): DproxyError =>
  new DproxyError('CONFIG_CHANGED', `somebody else changed ${printable(path)} at the same time`, {
    hint: 'nothing was written; run the command again',
  })

const explained = (target: string, failure: unknown): unknown => {
  const file = printable(target)
  const dir = printable(dirname(target))
  if (failure instanceof DproxyError) {
    return failure.code === 'SOCKET_FAILED'
      ? new DproxyError('CONFIG_CHANGED', `another dproxy is changing ${file} and does not end`, {
          hint: `if none is running, remove ${file}.lock`,
          cause: failure,
        })
      : failure
  }
  const errno = errnoOf(failure)
  if (errno === undefined) return failure
  if (errno === 'EEXIST') return changedMeanwhile(target)
  const [why, hint] = {
    ENOENT: [`there is no directory ${dir}`, `mkdir -p ${shellWord(dirname(target))}`],
    EACCES: [`you may not write to the directory ${dir}`, 'change that, or name another file with --config'],
    EPERM: ['its owner and mode could not be kept', 'edit it as its owner'],
    EROFS: [`${dir} is on a read-only file system`, 'name another file with --config'],
    ENOSPC: ['there is no space left on its disk', 'make room, and run the command again'],
    EDQUOT: ['your disk quota is used up', 'make room, and run the command again'],
  }[errno] ?? [`the system says ${errno}`, 'nothing was written']
  return new DproxyError('OUTPUT_FAILED', `${file} could not be written: ${why}`, { hint, cause: failure })
}
