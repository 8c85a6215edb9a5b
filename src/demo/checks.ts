import { createHash, randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { buffer, json, text } from 'node:stream/consumers'
import prettyBytes from 'pretty-bytes'
import { count } from '../base/text.js'
import { ask, isDemoEngine } from './request.js'

/** Why a check cannot be made here: no failure, but no success either. */
export class Skipped extends Error {}

/** Returns what it saw; throws with the reason when that is wrong, or Skipped. */
export type Check = (socket: string, signal: AbortSignal) => Promise<string>

const UPLOAD = 1024 * 1024

export const ping: Check = async (socket, signal) => {
  const answer = await text(await ask(socket, '/_ping', { signal }))
  if (answer !== 'OK') throw new Error(`answered ${JSON.stringify(answer.slice(0, 40))}, not OK`)
  return answer
}

export const version: Check = async (socket, signal) => {
  const { Version, ApiVersion } = (await json(await ask(socket, '/version', { signal }))) as Record<
    string,
    string
  >
  if (!Version || !ApiVersion) throw new Error('the answer names no version')
  return `${Version}, API ${ApiVersion}`
}

export const containers: Check = async (socket, signal) =>
  `${count((await containersOf(socket, signal)).length, 'container')} running`

export const images: Check = async (socket, signal) =>
  count(((await json(await ask(socket, '/images/json', { signal }))) as unknown[]).length, 'image')

/** The log of one container up to now: whole frames, and the sha256 the demo engine states, or twice the same. */
export const logs: Check = async (socket, signal) => {
  const [container] = await containersOf(socket, signal)
  if (!container) throw new Skipped('no container runs')
  const until = Math.floor(Date.now() / 1000) - 1
  const path = `/containers/${container.Id}/logs?stdout=1&stderr=1&tail=200&until=${until}`
  const response = await ask(socket, path, { signal })
  const body = await buffer(response)
  const digest = response.headers['repr-digest']
  if (digest === undefined && !body.equals(await buffer(await ask(socket, path, { signal })))) {
    throw new Error('two readings of the same lines differ')
  }
  if (digest !== undefined) compareDigest(body, digest)
  const framed = response.headers['content-type'] === 'application/vnd.docker.multiplexed-stream'
  return `${framed ? count(countFrames(body), 'line') : prettyBytes(body.length)}, equal`
}

/** A client that ends its own direction at once must still get the whole answer. */
export const halfClose: Check = async (socket, signal) => {
  const connection = connect({ path: socket, allowHalfOpen: true, signal })
  connection.end('GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n')
  const answer = await text(connection)
  if (!/^HTTP\/1\.1 200 .*\r\n\r\n.*OK/su.test(answer)) {
    throw new Error(`only ${count(answer.length, 'byte')} arrived after the client had ended`)
  }
  return 'the answer arrived whole'
}

export const download: Check = async (socket, signal) => {
  const response = await ask(socket, '/images/json', { signal })
  const [image] = (await json(response)) as { Id: string }[]
  if (!isDemoEngine(response)) throw new Skipped('not with a real engine')
  if (!image) throw new Error('the demo engine lists no image')
  const archive = await ask(socket, `/images/get?names=${image.Id}`, { signal })
  const body = await buffer(archive)
  compareDigest(body, archive.headers['repr-digest'])
  return `${prettyBytes(body.length)}, sha256 equal`
}

export const upload: Check = async (socket, signal) => {
  const answer = await ask(socket, '/_ping', { signal })
  await buffer(answer)
  if (!isDemoEngine(answer)) throw new Skipped('not with a real engine')
  const body = randomBytes(UPLOAD)
  const { stream } = (await json(await ask(socket, '/images/load', { method: 'POST', body, signal }))) as {
    stream: string
  }
  if (!stream.includes(createHash('sha256').update(body).digest('hex'))) {
    throw new Error(`the engine read something else: ${stream.trim()}`)
  }
  return `${prettyBytes(body.length)}, sha256 equal`
}

const containersOf = async (socket: string, signal: AbortSignal) =>
  (await json(await ask(socket, '/containers/json', { signal }))) as { Id: string }[]

/** The header of RFC 9530: `sha-256=:…:`, the digest in base64. */
const compareDigest = (body: Buffer, stated: string | string[] | undefined): void => {
  const actual = `sha-256=:${createHash('sha256').update(body).digest('base64')}:`
  if (actual !== stated) throw new Error(`${prettyBytes(body.length)} arrived, not the bytes that were sent`)
}

/** How many frames of Docker's multiplexed stream `body` holds; throws when it does not end with a whole one. */
const countFrames = (body: Buffer): number => {
  let frames = 0
  let offset = 0
  for (; offset + 8 <= body.length; frames += 1) offset += 8 + body.readUInt32BE(offset + 4)
  if (offset !== body.length) throw new Error('the last frame of the log is cut short')
  return frames
}
