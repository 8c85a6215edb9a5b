import { createHash } from 'node:crypto'
import { archive } from './archive.js'
import { EngineError, unsupported } from './engine-error.js'
import { sendJson, sendParts, type Ask } from './respond.js'
import type { World } from './world.js'

type StoredImage = World['images'][number]

/** `GET /images/json` */
export const listImages = (ask: Ask): void => sendJson(ask, ask.world.images.map(listedImage))

/** One element of `GET /images/json`. */
export const listedImage = ({ id, tag, size, createdMs }: StoredImage) => ({
  Id: id,
  ParentId: '',
  RepoTags: [tag],
  RepoDigests: [],
  Created: Math.floor(createdMs / 1000),
  Size: size,
  SharedSize: -1,
  Containers: -1,
  Labels: null,
})

/** `GET /images/{name}/json` and `GET /images/{name}/get`; a name may hold slashes. */
export const oneImage = (ask: Ask): void | Promise<void> => {
  const [, name = '', what] = /^(.+)\/(json|get)$/u.exec(ask.params['*'] ?? '') ?? []
  if (!what) throw unsupported(ask.request)
  const image = findImage(ask.world, name)
  return what === 'get' ? sendArchive(ask, [image]) : sendJson(ask, inspectedImage(image))
}

/** `GET /images/get`, what `docker save` asks for: a few MB, the sha256 of all said in the head (RFC 9530). */
export const saveImages = (ask: Ask): Promise<void> =>
  sendArchive(
    ask,
    ask.query.getAll('names').map((name) => findImage(ask.world, name)),
  )

/** `POST /images/load`: reads what is sent, tells its size and sha256, and keeps nothing. */
export const loadImages = async (ask: Ask): Promise<void> => {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of ask.request as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
  }
  const message = `the demo engine read ${bytes} bytes, sha256 ${hash.digest('hex')}, and keeps none of them`
  sendJson(ask, { stream: `${message}\n` })
}

const findImage = ({ images }: World, wanted: string): StoredImage => {
  const found = images.find(
    ({ id, tag }) => tag === wanted || id === wanted || (wanted !== '' && id.slice(7).startsWith(wanted)),
  )
  if (!found) throw new EngineError(404, `No such image: ${wanted}`)
  return found
}

const inspectedImage = ({ id, tag, size, createdMs }: StoredImage) => ({
  Id: id,
  RepoTags: [tag],
  RepoDigests: [],
  Parent: '',
  Comment: '',
  Created: new Date(createdMs).toISOString(),
  Architecture: 'amd64',
  Os: 'linux',
  Size: size,
  Config: { Env: [], Cmd: null, Labels: null },
  GraphDriver: { Name: 'demo', Data: null },
  RootFS: { Type: 'layers', Layers: [id] },
})

const sendArchive = (ask: Ask, images: readonly StoredImage[]): Promise<void> => {
  const hash = createHash('sha256')
  let bytes = 0
  for (const part of archive(images)) {
    hash.update(part)
    bytes += part.length
  }
  ask.response.setHeader('Content-Length', bytes)
  ask.response.setHeader('Repr-Digest', `sha-256=:${hash.digest('base64')}:`)
  return sendParts(ask, 'application/x-tar', archive(images))
}
