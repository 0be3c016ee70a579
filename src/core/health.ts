/** The responses of the health paths, which load balancers and orchestrators ask. */
import type { Awaitable } from '../types/index.js'

export interface Health {
  /** Of readiness: whether clients are to come here. */
  readonly path: string
  /** Of liveness: whether the process works. Undefined for none. */
  readonly live: string | undefined
  readonly check: (() => Awaitable<boolean>) | undefined
  /** Whether a backplane that is down makes the server unhealthy. */
  readonly backplane: boolean
}

/** What keeps new clients away. */
export type Leaving = 'draining' | 'closing'

type State = 'healthy' | 'unhealthy' | 'alive' | Leaving

/** Makes the handler of the health path. `leaving` is asked at each request, and again after the check. */
export function healthHandler(
  { check, backplane }: Health,
  leaving: () => Leaving | undefined,
  report: (error: unknown) => void,
  isBackplaneUp: () => boolean,
): () => Promise<Response> {
  return async () => {
    const before = leaving()
    if (before !== undefined) return healthResponse(before)
    const isReachable = !backplane || isBackplaneUp()
    const isHealthy = isReachable && (check === undefined || (await passes(check, report)))
    // The server may have begun to close while the check ran.
    return healthResponse(leaving() ?? (isHealthy ? 'healthy' : 'unhealthy'))
  }
}

/** The handler of the path for liveness: that it runs is the answer. */
export function liveHandler(): Response {
  return healthResponse('alive')
}

async function passes(check: () => Awaitable<boolean>, report: (error: unknown) => void): Promise<boolean> {
  try {
    const result: unknown = await check()
    if (typeof result !== 'boolean') throw new TypeError(`health.check must return true or false, got ${typeof result}`)
    return result
  } catch (error) {
    report(error)
    return false
  }
}

function healthResponse(state: State): Response {
  const isWell = state === 'healthy' || state === 'alive'
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' }
  return new Response(JSON.stringify({ status: state }), { status: isWell ? 200 : 503, headers })
}
