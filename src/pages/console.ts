/** A page to talk to the server from a browser: all of its HTML, style and script are in `console.html`. */
import { resolveConsolePage } from '../options/pages.js'
import type { ConsolePageOptions, RouteHandler } from '../types/index.js'
import { consoleHtml } from './console-html.js'
import { makePage } from './page.js'
import { WaitingBytes } from './waiting-bytes.js'

/** All that the page loads is the page itself, at other queries. It may connect to any WebSocket server. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self' ws: wss:",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** What the page consists of. */
interface Parts {
  readonly html: string
  readonly style: string
  readonly script: string
}

/** Of the process: read by the first call of consolePage. */
let parts: Parts | undefined

/**
 * A page for browsers: `server.get('/console', consolePage())`. It connects to any path of this server, and
 * to other servers; offers subprotocols; sends text, JSON and binary messages, also many times a second;
 * shows messages both ways with their sizes and round trips; and draws what has happened in the last minute.
 * It must be the handler of the route itself, and is not there unless you register it: a client that can open
 * it learns how many connections the server has, and can do what any client can.
 *
 * The page is self-contained, and its content security policy allows no inline code and no other host. Throws
 * OptionError.
 */
export function consolePage(options: ConsolePageOptions = {}): RouteHandler<string> {
  const settings = resolveConsolePage(options)
  parts ??= readParts()
  const { html, style, script } = parts
  return makePage(settings, (host) => {
    const waiting = new WaitingBytes(host.sockets)
    return async ({ query }) => {
      if (query.has('script')) return respond(script, 'text/javascript; charset=utf-8')
      if (query.has('style')) return respond(style, 'text/css; charset=utf-8')
      if (!query.has('stats')) return respond(html, 'text/html; charset=utf-8')
      const stats = { engine: host.engine, connections: host.metrics().connectionsOpen, waitingBytes: await waiting.now() }
      return respond(JSON.stringify(stats), 'application/json')
    }
  })
}

function respond(body: string, type: string): Response {
  return new Response(body, {
    headers: {
      'content-type': type,
      'content-security-policy': POLICY,
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    },
  })
}

function readParts(): Parts {
  const [style, withoutStyle] = takeOut(consoleHtml(), '<style>', '</style>', '<link rel="stylesheet" href="?style">')
  const [script, html] = takeOut(
    withoutStyle,
    '<script type="module">',
    '</script>',
    '<script type="module" src="?script"></script>',
  )
  return { html, style, script }
}

/** What is between two tags, and the text with something else in their place. */
function takeOut(text: string, begin: string, end: string, replacement: string): [taken: string, rest: string] {
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`console.html has no ${begin}`)
  return [text.slice(from + begin.length, to), `${text.slice(0, from)}${replacement}${text.slice(to + end.length)}`]
}
