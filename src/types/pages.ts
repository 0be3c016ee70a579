/** Pages that a server can show of itself: route handlers that know their server. */
import type { Awaitable } from './common.js'
import type { ServerRequest } from './http.js'

/** Who may see a page. */
export interface PageOptions {
  /**
   * Decides about each request: true shows the page, false refuses with 403, and a Response is sent in its
   * place (401 with `www-authenticate`, say). When it throws or rejects, the client gets 500 and `onError`
   * the error. Default: the page is shown to every client that reaches the route.
   */
  allow?(request: ServerRequest): Awaitable<boolean | Response>
}

/** Options of `consolePage`. */
export interface ConsolePageOptions extends PageOptions {}

/** Options of `metricsPage`. */
export interface MetricsPageOptions extends PageOptions {
  /**
   * What the names of all metrics but those of the process begin with: letters, digits and `_`, not a digit
   * first. Default `'websocket_server_'`.
   */
  prefix?: string
  /**
   * Also tell what the process uses: processor time, memory, start, under the names that all exporters of
   * Prometheus have (`process_cpu_seconds_total` and so on). False where another page of the same target
   * tells them already. Default true.
   */
  process?: boolean
}
