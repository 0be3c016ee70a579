/** The responses of the health path, which load balancers and orchestrators ask. */
import type { Awaitable } from '../types/index.js'

export interface Health {
  readonly path: string
  readonly check: (() => Awaitable<boolean>) | undefined
  /** Whether a backplane that is down makes the server unhealthy. */
  readonly backplane: boolean
}

type State = 'healthy' | 'unhealthy' | 'closing'

/** Makes the handler of the health path. */
export function healthHandler(
  { check, backplane }: Health,
  isClosing: () => boolean,
  report: (error: unknown) => void,
  isBackplaneUp: () => boolean,
): () => Promise<Response> {
  return async () => {
    if (isClosing()) return healthResponse('closing')
    const isReachable = !backplane || isBackplaneUp()
    const isHealthy = isReachable && (check === undefined || (await passes(check, report)))
    // The server may have begun to close while the check ran.
    if (isClosing()) return healthResponse('closing')
    return healthResponse(isHealthy ? 'healthy' : 'unhealthy')
  }
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
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' }
  return new Response(JSON.stringify({ status: state }), { status: state === 'healthy' ? 200 : 503, headers })
}
