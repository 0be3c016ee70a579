/** What all pages have in common: each belongs to one server, and is shown to those who may see it. */
import { kPage, type Page, type PageHost } from '../core/page.js'
import { WebSocketServerError } from '../errors.js'
import type { Awaitable, PageOptions, RouteHandler, ServerRequest } from '../types/index.js'

/** `make` is called once for each route that shows the page, before its server listens. */
export function makePage({ allow }: PageOptions, make: (host: PageHost) => RouteHandler<string>): Page {
  const unregistered = (): never => {
    throw new WebSocketServerError(
      'ERR_OPTION',
      "a page must itself be the handler of a route (server.get('/metrics', metricsPage())): its option `allow` decides who may see it",
    )
  }
  return Object.assign(unregistered, {
    [kPage]: (host: PageHost): RouteHandler<string> => {
      const show = make(host)
      return allow === undefined ? show : (request) => showIfAllowed(request, allow, show)
    },
  })
}

async function showIfAllowed(
  request: ServerRequest,
  allow: (request: ServerRequest) => Awaitable<boolean | Response>,
  show: RouteHandler<string>,
): Promise<Response> {
  const decision: unknown = await allow(request)
  if (decision === true) return show(request)
  if (decision instanceof Response) return decision
  if (decision === false) return new Response('Forbidden\n', { status: 403 })
  throw new TypeError(`allow must return true, false or a Response, got ${typeof decision}`)
}
