/**
 * Finds what was registered for a method and a path. Segment by segment, a literal is preferred to a `:parameter`, and that
 * to a final `*`, whatever the order of registration; a dead end falls back to the next best.
 */
import { OptionError } from '../errors.js'

/** Registers for every method; a route for the method itself is preferred. */
export const ANY_METHOD = '*'

/** A hit: what was registered, and the parameters still percent-encoded. */
export interface Match<V> {
  readonly value: V
  readonly params: ReadonlyArray<readonly [name: string, encoded: string]>
}

/** What one pattern has for one method. Patterns that differ in their parameters' names only share their place in the tree. */
interface Entry<V> {
  readonly value: V
  readonly names: readonly string[]
}

type Entries<V> = Map<string, Entry<V>>

class Node<V> {
  readonly literals = new Map<string, Node<V>>()
  parameter: Node<V> | undefined
  /** By method: for paths that end here, and for all that go on from here. */
  readonly here: Entries<V> = new Map()
  readonly beyond: Entries<V> = new Map()
}

/** Values by method and path pattern. Segments are compared as sent, without percent-decoding. */
export class RouteTable<V> {
  readonly #root = new Node<V>()

  /** The path has passed `checkPath`. Throws OptionError when it is taken for this method. */
  add(method: string, path: string, value: V): void {
    if (!this.addUnlessTaken(method, path, value)) {
      throw new OptionError('path', path, `registered only once for ${method === ANY_METHOD ? 'every method' : method}`)
    }
  }

  addUnlessTaken(method: string, path: string, value: V): boolean {
    let node = this.#root
    let entries: Entries<V> | undefined
    const names: string[] = []
    for (const segment of segmentsOf(path)) {
      if (segment === '*') {
        entries = node.beyond
      } else if (segment.startsWith(':')) {
        names.push(segment.slice(1))
        node.parameter ??= new Node()
        node = node.parameter
      } else {
        const next = node.literals.get(segment) ?? new Node()
        node.literals.set(segment, next)
        node = next
      }
    }
    entries ??= node.here
    if (entries.has(method)) return false
    entries.set(method, { value, names })
    return true
  }

  /** The best match. HEAD is served by GET's routes (RFC 9110, section 9.3.2). */
  find(method: string, path: string): Match<V> | undefined {
    for (const [entries, values] of placesOf(this.#root, path)) {
      const entry = entries.get(method) ?? (method === 'HEAD' ? entries.get('GET') : undefined) ?? entries.get(ANY_METHOD)
      if (entry === undefined) continue
      return { value: entry.value, params: entry.names.map((name, index) => [name, values[index] ?? '']) }
    }
    return undefined
  }

  /** The methods that the path has routes for, once `find` has found none: what the Allow header says. OPTIONS is answered for all. */
  allowed(path: string): string[] {
    const methods = new Set<string>()
    for (const [entries] of placesOf(this.#root, path)) {
      for (const method of entries.keys()) {
        methods.add(method)
        if (method === 'GET') methods.add('HEAD')
      }
    }
    if (methods.size > 0) methods.add('OPTIONS')
    return [...methods]
  }
}

type Place<V> = readonly [entries: Entries<V>, values: readonly string[]]

/** All places in the tree that match the path, best first. */
function* placesOf<V>(root: Node<V>, path: string): Generator<Place<V>> {
  if (path.startsWith('/')) yield* walk(root, segmentsOf(path), 0, [])
}

function* walk<V>(node: Node<V>, segments: readonly string[], index: number, values: readonly string[]): Generator<Place<V>> {
  const segment = segments[index]
  if (segment === undefined) {
    yield [node.here, values]
    return
  }
  const literal = node.literals.get(segment)
  if (literal !== undefined) yield* walk(literal, segments, index + 1, values)
  // An empty segment is no value for a parameter: `/chat/` is not `/chat/:room`.
  if (node.parameter !== undefined && segment !== '') yield* walk(node.parameter, segments, index + 1, [...values, segment])
  yield [node.beyond, values]
}

function segmentsOf(path: string): string[] {
  return path.slice(1).split('/')
}

/** The parameters of a match, percent-decoded. Undefined when the encoding is broken. */
export function decodeParams(params: Match<unknown>['params']): Record<string, string> | undefined {
  try {
    return Object.fromEntries(params.map(([name, encoded]) => [name, decodeURIComponent(encoded)]))
  } catch {
    return undefined
  }
}
