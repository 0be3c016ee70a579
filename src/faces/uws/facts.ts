/** What requests and responses of the face stand on: a request, or a handshake, of this package. */
import type { Handshake, ServerRequest } from '../../index.js'

export type Facts = ServerRequest | Handshake

function isHandshake(facts: Facts): facts is Handshake {
  return 'fields' in facts
}

/** As sent. A handshake is a GET, or is refused by the engine. */
export function methodOf(facts: Facts): string {
  return isHandshake(facts) ? 'GET' : facts.method
}

/** The name is in lower case. */
export function headerOf(facts: Facts, name: string): string | undefined {
  return isHandshake(facts) ? facts.header(name) : (facts.headers.get(name) ?? undefined)
}

export function fieldsOf(facts: Facts): Iterable<readonly [name: string, value: string]> {
  return isHandshake(facts) ? facts.fields : facts.headers
}

/** Null where there is none. */
export function bodyOf(facts: Facts): ServerRequest['body'] {
  return isHandshake(facts) ? null : facts.body
}
