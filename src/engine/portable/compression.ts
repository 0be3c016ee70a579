/** What `ws` is told about permessage-deflate for one route. */
import type { ServerOptions as WsOptions } from 'ws'
import type { EngineRoute } from '../contract.js'

/**
 * For what is sent: compressed messages that come are read by FrameReader. What was agreed on with a client
 * is not in here: ws reads that from the offer that it is given (`accept`).
 */
export function compressionOf({ compression }: EngineRoute): Pick<WsOptions, 'perMessageDeflate'> {
  if (compression === undefined) return { perMessageDeflate: false }
  const { memoryLevel } = compression.compressor
  // The threshold is PortableConnection's: ws applies it only where no context is taken over.
  return { perMessageDeflate: { threshold: 0, zlibDeflateOptions: { memLevel: memoryLevel } } }
}
