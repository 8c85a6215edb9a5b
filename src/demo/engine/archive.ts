import { hexId } from './noise.js'

const BLOCK = 512
const CHUNK = 64 * 1024
const LAYER_CHUNKS = 64

/**
 * A tar archive in the shape of `docker save`: a manifest, and per image 4 MB of noise in the place of its
 * layer. Always the same bytes for the same images; made as it is read, so it takes no memory.
 */
export function* archive(images: readonly { id: string; tag: string }[]): Generator<Buffer> {
  const manifest = Buffer.from(JSON.stringify(images.map(entry)))
  yield fileHead('manifest.json', manifest.length)
  yield Buffer.concat([manifest, padding(manifest.length)])
  for (const image of images) {
    yield fileHead(entry(image).Layers[0] ?? '', LAYER_CHUNKS * CHUNK)
    const chunk = noise(image.id)
    for (let sent = 0; sent < LAYER_CHUNKS; sent += 1) yield chunk
  }
  yield Buffer.alloc(2 * BLOCK)
}

const entry = ({ id, tag }: { id: string; tag: string }) => ({
  RepoTags: [tag],
  Layers: [`${id.slice(7)}/layer.tar`],
})

const noise = (seed: string): Buffer =>
  Buffer.concat(Array.from({ length: CHUNK / 32 }, (_, index) => Buffer.from(hexId(seed, index), 'hex')))

const padding = (length: number): Buffer => Buffer.alloc((BLOCK - (length % BLOCK)) % BLOCK)

/** The head of a regular file (POSIX.1-2001, pax, ustar interchange format). */
const fileHead = (name: string, size: number): Buffer => {
  const head = Buffer.alloc(BLOCK)
  head.write(name, 0, 100)
  head.write('0000644\0', 100)
  head.write('0000000\0', 108)
  head.write('0000000\0', 116)
  head.write(`${size.toString(8).padStart(11, '0')}\0`, 124)
  head.write('00000000000\0', 136)
  // The checksum is taken with its own field full of spaces.
  head.write('        ', 148)
  head.write('0', 156)
  head.write('ustar\x0000', 257)
  const sum = head.reduce((total, byte) => total + byte, 0)
  head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return head
}
