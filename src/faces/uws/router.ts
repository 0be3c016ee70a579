/**
 * Finds handlers as uWebSockets.js does: a literal segment before a `:parameter`, and both before `*`; of
 * handlers in one place, those for WebSocket upgrades first, then those for the method, then those for any
 * method, each in the order in which they were added. A handler may yield to the next one.
 */

/** Who may look at a request, in this order. */
export const PRIORITY = { UPGRADE: 0, METHOD: 1, ANY: 2 } as const

interface Entry<H> {
  readonly handler: H
  /** Upper case; undefined for any. */
  readonly method: string | undefined
  readonly priority: number
}

class Node<H> {
  readonly literals = new Map<string, Node<H>>()
  parameter: Node<H> | undefined
  /** Of patterns that end here, and of those that go on with `*`. */
  readonly here: Entry<H>[] = []
  readonly beyond: Entry<H>[] = []
}

/** Returns whether the handler has taken the request. */
export type Visit<H> = (handler: H, parameters: readonly string[]) => boolean

export class Router<H> {
  readonly #root = new Node<H>()

  /** `method` in upper case; undefined for any. */
  add(pattern: string, method: string | undefined, priority: number, handler: H): void {
    let node = this.#root
    let entries: Entry<H>[] | undefined
    for (const segment of segmentsOf(pattern)) {
      if (segment.startsWith('*')) {
        entries = node.beyond
        break
      }
      if (segment.startsWith(':')) {
        node.parameter ??= new Node()
        node = node.parameter
      } else {
        const next = node.literals.get(segment) ?? new Node<H>()
        node.literals.set(segment, next)
        node = next
      }
    }
    entries ??= node.here
    const at = entries.findIndex((other) => other.priority > priority)
    entries.splice(at === -1 ? entries.length : at, 0, { handler, method, priority })
  }

  /** Calls `visit` with one handler after another. Whether one of them has taken the request. */
  route(method: string, path: string, visit: Visit<H>): boolean {
    return walk(this.#root, segmentsOf(path), 0, [], (entries, parameters) =>
      entries.some((entry) => (entry.method ?? method) === method && visit(entry.handler, parameters)),
    )
  }
}

function segmentsOf(path: string): string[] {
  return path.slice(1).split('/')
}

function walk<H>(
  node: Node<H>,
  segments: readonly string[],
  index: number,
  parameters: readonly string[],
  look: (entries: readonly Entry<H>[], parameters: readonly string[]) => boolean,
): boolean {
  const segment = segments[index]
  if (segment === undefined) return look(node.here, parameters)
  const literal = node.literals.get(segment)
  if (literal !== undefined && walk(literal, segments, index + 1, parameters, look)) return true
  const { parameter } = node
  if (parameter !== undefined && segment !== '' && walk(parameter, segments, index + 1, [...parameters, segment], look)) {
    return true
  }
  return look(node.beyond, parameters)
}
