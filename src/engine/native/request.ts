/** The head of a request in the form that C++ writes (native/binding/environment.cpp, on_request). */
import { Buffer } from 'node:buffer'
import type { RequestHead } from '../contract.js'

/**
 * V8 copies a piece of a string only when the piece is shorter than this (SlicedString::kMinLength); a longer
 * piece refers to the whole string.
 */
const LEAST_SLICED = 13

/**
 * Method, URL, remote address, the other endpoints, proxied address, and anything for a body, each in a line
 * of its own; then the fields.
 */
export function requestHeadOf(lines: string): RequestHead {
  const methodEnd = lines.indexOf('\n')
  const urlEnd = lines.indexOf('\n', methodEnd + 1)
  const remoteEnd = lines.indexOf('\n', urlEnd + 1)
  const endpointsEnd = lines.indexOf('\n', remoteEnd + 1)
  const proxiedEnd = lines.indexOf('\n', endpointsEnd + 1)
  const bodyEnd = lines.indexOf('\n', proxiedEnd + 1)
  return {
    method: lines.slice(0, methodEnd),
    url: lines.slice(methodEnd + 1, urlEnd),
    remoteAddress: ownAddress(lines.slice(urlEnd + 1, remoteEnd)),
    endpoints: lines.slice(remoteEnd + 1, endpointsEnd),
    proxiedAddress: ownText(lines.slice(endpointsEnd + 1, proxiedEnd)),
    hasBody: bodyEnd > proxiedEnd + 1,
    fields: lines.slice(bodyEnd),
  }
}

/**
 * The address of the request before. Behind a proxy all requests have the same address, and a single string
 * then serves all their sockets.
 */
let lastAddress = ''

function ownAddress(piece: string): string {
  if (piece !== lastAddress) lastAddress = ownText(piece)
  return lastAddress
}

/** A piece that does not keep the whole head for as long as a socket remembers its address. */
function ownText(piece: string): string {
  return piece.length < LEAST_SLICED ? piece : Buffer.from(piece, 'latin1').toString('latin1')
}
