import { createCipheriv, createHash } from 'node:crypto'

const BLOCK = 512
const PIECE = 1024 * 1024

/** An image of one layer with one file of `bytes` bytes that do not compress, in the form of `docker save`. */
export interface BigImage {
  readonly tag: string
  /** The image id that an engine must come to: it is a hash over the config, which has a hash over the layer. */
  readonly id: string
  /** The archive, made while it is read: it is on no disk. */
  archive(): Generator<Buffer>
}

/** Makes the description of a big image; the layer is made once to be hashed. `bytes`: a multiple of 512. */
export const bigImage = (tag: string, bytes: number): BigImage => {
  const hash = createHash('sha256')
  for (const piece of layer(bytes)) hash.update(piece)
  const diffId = `sha256:${hash.digest('hex')}`
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [diffId] },
    }),
  )
  const manifest = Buffer.from(
    JSON.stringify([{ Config: 'config.json', RepoTags: [tag], Layers: ['layer.tar'] }]),
  )
  return {
    tag,
    id: `sha256:${createHash('sha256').update(config).digest('hex')}`,
    *archive() {
      yield* file('config.json', config)
      yield header('layer.tar', layerLength(bytes))
      yield* layer(bytes)
      yield* file('manifest.json', manifest)
      yield Buffer.alloc(2 * BLOCK)
    },
  }
}

const layerLength = (bytes: number): number => BLOCK + bytes + 2 * BLOCK

function* layer(bytes: number): Generator<Buffer> {
  yield header('big', bytes)
  // The key stream of a fixed key: always the same, and as good as random.
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16))
  const zeros = Buffer.alloc(PIECE)
  for (let left = bytes; left > 0; left -= PIECE)
    yield noise.update(left < PIECE ? zeros.subarray(0, left) : zeros)
  yield Buffer.alloc(2 * BLOCK)
}

function* file(name: string, content: Buffer): Generator<Buffer> {
  yield header(name, content.length)
  yield content
  yield Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)
}

/** A ustar header (POSIX pax(1)) of a plain file. */
const header = (name: string, size: number): Buffer => {
  const block = Buffer.alloc(BLOCK)
  block.write(name, 0)
  block.write('0000644\0', 100)
  block.write('0000000\0', 108)
  block.write('0000000\0', 116)
  block.write(`${size.toString(8).padStart(11, '0')}\0`, 124)
  block.write('00000000000\0', 136)
  block.write('        0', 148)
  block.write('ustar\x0000', 257)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}
