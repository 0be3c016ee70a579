/** Connections that Node has accepted, for C++: their descriptors. */
import type { Socket as NetSocket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { AdoptError } from '../../errors.js'

/** Throws AdoptError where there is no descriptor, or not the bytes of the stream behind it. */
export function descriptorOf(socket: NetSocket): number {
  if (socket instanceof TLSSocket) {
    throw new AdoptError(
      "its TLS is Node's, which the native engine cannot go on with: make the server with `engine: 'portable'`, let the server itself listen with the option `tls`, or end TLS in a proxy",
    )
  }
  // Node documents no way to a socket's descriptor; `_handle.fd` has been there since io.js, but on Windows.
  const { _handle: handle } = socket as { _handle?: { readonly fd?: unknown } | null }
  const descriptor = handle?.fd
  if (typeof descriptor !== 'number' || descriptor < 0) {
    throw new AdoptError("the socket has no file descriptor: make the server with `engine: 'portable'`")
  }
  return descriptor
}

/** Whether the addon has thrown this because there is no descriptor left. */
export function isShortage(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && (cause.code === 'EMFILE' || cause.code === 'ENFILE')
}

/** The error for what the addon has thrown otherwise. */
export function adoptionError(cause: unknown): AdoptError {
  return new AdoptError(cause instanceof Error ? cause.message : String(cause), { cause })
}
