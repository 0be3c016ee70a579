/**
 * Finds the value registered for a method and a path. Segment by segment, a literal is preferred to a
 * `:parameter`, and a `:parameter` to a final `*`, whatever the order of registration; a dead end falls back
 * to the next best pattern.
 */
import { OptionError } from '../errors.js'
import { normalizeSegment } from './target.js'

/** Registers for every method; a route for the method itself is preferred. */
export const ANY_METHOD = '*'

/** A match: the registered value, and the parameters, still percent-encoded. */
export interface Match<V> {
  readonly value: V
  readonly params: ReadonlyArray<readonly [name: string, encoded: string]>
}

/**
 * The value of one pattern for one method. Patterns that differ only in their parameters' names share their
 * place in the tree.
 */
interface Entry<V> {
  value: V
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

/**
 * Values by method and path pattern. Literal segments are compared in the form that `normalizePath` gives to
 * the paths of requests.
 */
export class RouteTable<V> {
  readonly #root = new Node<V>()

  /**
   * The path has passed `checkPath`. Throws OptionError when the path has a value for this method already.
   */
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
        const literal = normalizeSegment(segment) ?? segment
        const next = node.literals.get(literal) ?? new Node()
        node.literals.set(literal, next)
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
    return visit(this.#root, path, (entries, values) => {
      const entry = entries.get(method) ?? (method === 'HEAD' ? entries.get('GET') : undefined) ?? entries.get(ANY_METHOD)
      return entry && { value: entry.value, params: entry.names.map((name, index) => [name, values[index] ?? '']) }
    })
  }

  /** Puts another value in the place of each. `path` is the pattern. */
  replaceAll(replace: (method: string, path: string, value: V) => V): void {
    const visitAll = (node: Node<V>, segments: readonly string[]): void => {
      for (const [entries, last] of [
        [node.here, []],
        [node.beyond, ['*']],
      ] as const) {
        for (const [method, entry] of entries) {
          let parameters = 0
          const named = segments.map((segment) => (segment === ':' ? `:${entry.names[parameters++]}` : segment))
          entry.value = replace(method, `/${[...named, ...last].join('/')}`, entry.value)
        }
      }
      for (const [segment, next] of node.literals) visitAll(next, [...segments, segment])
      if (node.parameter !== undefined) visitAll(node.parameter, [...segments, ':'])
    }
    visitAll(this.#root, [])
  }

  /**
   * The methods that the path has routes for, for the Allow header, when `find` has found no route. OPTIONS
   * is among them where there is any.
   */
  allowed(path: string): string[] {
    const methods = new Set<string>()
    visit(this.#root, path, (entries) => {
      for (const method of entries.keys()) {
        methods.add(method)
        if (method === 'GET') methods.add('HEAD')
      }
      return undefined
    })
    if (methods.size > 0) methods.add('OPTIONS')
    return [...methods]
  }
}

/** Looks at one place in the tree. Anything but undefined ends the search, and is its result. */
type Visitor<V, R> = (entries: Entries<V>, values: readonly string[]) => R | undefined

/** Looks at all places in the tree that match the path, best first. */
function visit<V, R>(root: Node<V>, path: string, look: Visitor<V, R>): R | undefined {
  return path.startsWith('/') ? walk(root, path, 1, [], look) : undefined
}

/** `start` is where the next segment begins; beyond the path when no segment is left. */
function walk<V, R>(node: Node<V>, path: string, start: number, values: readonly string[], look: Visitor<V, R>): R | undefined {
  if (start > path.length) return look(node.here, values)
  const slash = path.indexOf('/', start)
  const end = slash === -1 ? path.length : slash
  const segment = path.slice(start, end)
  const literal = node.literals.get(segment)
  let result = literal && walk(literal, path, end + 1, values, look)
  // An empty segment is no value for a parameter: `/chat/` is not `/chat/:room`.
  if (node.parameter !== undefined && segment !== '') {
    result ??= walk(node.parameter, path, end + 1, [...values, segment], look)
  }
  return result ?? look(node.beyond, values)
}

function segmentsOf(path: string): string[] {
  return path.slice(1).split('/')
}

/** The parameters of a match, percent-decoded. Undefined when the encoding is broken. */
export function decodeParams(params: Match<unknown>['params']): Record<string, string> | undefined {
  if (params.length === 0) return {}
  try {
    return Object.fromEntries(params.map(([name, encoded]) => [name, decodeURIComponent(encoded)]))
  } catch {
    return undefined
  }
}
