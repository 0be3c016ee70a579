/** Which Responses have a function that writes their body. A file of its own: both sides of it import it. */
import type { Awaitable, BodyWriter } from '../types/index.js'

export type WriteBody = (body: BodyWriter) => Awaitable<unknown>

export const writers = new WeakMap<Response, WriteBody>()
