/** Servers of HTTP routes, and requests for them. */
import { type EngineName, type Served, type ServeOptions, serve } from './engines.js'

export type Routes = NonNullable<ServeOptions['routes']>
type Options = ServeOptions['server']

/** A server with these routes, and a WebSocket route on /socket. */
export const withRoutes = (engine: EngineName, routes: Routes, server: Options = {}): Promise<Served> =>
  serve(engine, {}, { path: '/socket', routes, server })

/** A server whose errors are collected. */
export const watched = async (engine: EngineName, routes: Routes, server: Options = {}) => {
  const errors: unknown[] = []
  return { errors, served: await withRoutes(engine, routes, { onError: (error) => errors.push(error), ...server }) }
}

/** The head of a request, as it goes over the wire. */
export const request = (method: string, path: string, ...headers: string[]): string =>
  `${[`${method} ${path} HTTP/1.1`, 'Host: localhost', ...headers].join('\r\n')}\r\n\r\n`

export const get = (path: string, ...headers: string[]): string => request('GET', path, ...headers)
