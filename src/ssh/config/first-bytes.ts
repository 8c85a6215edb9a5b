import { open, stat } from 'node:fs/promises'

/** At most the first `length` bytes of a file; empty where there is none that can be read. */
export const firstBytes = async (path: string, length: number): Promise<Buffer> => {
  try {
    // A pipe would hold the opener for ever.
    if (!(await stat(path)).isFile()) return Buffer.alloc(0)
    await using file = await open(path)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, 0)
    return buffer.subarray(0, bytesRead)
  } catch {
    return Buffer.alloc(0)
  }
}
