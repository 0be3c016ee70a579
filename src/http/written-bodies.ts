/**
 * Which Responses have a body that their stream does not give: that of `writeResponse`. A file of its own:
 * both sides of it import it.
 */
import type { Awaitable, BodyWriter } from '../types/index.js'

export type WriteBody = (body: BodyWriter) => Awaitable<unknown>

/** All of it, or the function that writes it. */
export type WrittenBody = Uint8Array<ArrayBuffer> | WriteBody

export const writers = new WeakMap<Response, WrittenBody>()
