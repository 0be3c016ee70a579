/** What `ws` is told about permessage-deflate for one route. */
import type { ServerOptions as WsOptions } from 'ws'
import type { EngineRoute } from './contract.js'

/** ws takes a larger limit for a negative number, which means none to it. */
const MAX_LIMIT = 2 ** 31 - 1

/**
 * ws measures the compressed message, too, by its limit: it gets more room than `maxPayloadLength`, which PortableConnection applies to
 * what comes out. What was agreed on with a client is not in here: ws reads that from the offer that it is given (`accept`).
 */
export function compressionOf({
  maxPayloadLength,
  compression,
}: EngineRoute): Pick<WsOptions, 'maxPayload' | 'perMessageDeflate'> {
  if (compression === undefined) return { maxPayload: maxPayloadLength, perMessageDeflate: false }
  const { memoryLevel } = compression.compressor
  return {
    maxPayload: Math.min(maxPayloadLength + Math.ceil(maxPayloadLength / 8) + 64, MAX_LIMIT),
    // The threshold is PortableConnection's: ws applies it only where no context is taken over.
    perMessageDeflate: { threshold: 0, zlibDeflateOptions: { memLevel: memoryLevel } },
  }
}
