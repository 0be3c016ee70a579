/** The addon's server as the contract's EngineHttp. */
import type { EngineHttp, EngineResponse, EngineServerOptions, ExchangeId, ResponseHead } from '../contract.js'
import type { Addon, AddonServer } from './addon.js'

export type NativeHttp = AddonServer & EngineHttp

/**
 * The addon's class with the calls whose arguments the contract has in objects: C++ reads arguments more
 * quickly than properties. The other calls of EngineHttp go to C++ as they are, after `dispose` too: then
 * nothing happens.
 */
export function httpClassOf(addon: Addon): new (number: number, options: EngineServerOptions) => NativeHttp {
  return class extends addon.WebSocketServer implements EngineHttp {
    respond(exchange: ExchangeId, { status, statusText, headers, closes, contentLength, body }: EngineResponse): boolean {
      return this.respondWith(exchange, `${status} ${statusText}`, headers, closes, contentLength, body)
    }

    beginResponse(exchange: ExchangeId, { status, statusText, headers, closes, contentLength }: ResponseHead): boolean {
      return this.beginResponseWith(exchange, `${status} ${statusText}`, headers, closes, contentLength)
    }
  }
}
