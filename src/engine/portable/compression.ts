/** What `ws` is told about permessage-deflate for one route. */
import type { ServerOptions as WsOptions } from 'ws'
import type { EngineRoute } from '../contract.js'

/**
 * For messages that are sent: FrameReader reads compressed messages that come. What was agreed on with a
 * client is not in here: `ws` reads the agreement from the offer that `accept` gives to `ws`.
 */
export function compressionOf({ compression }: EngineRoute): Pick<WsOptions, 'perMessageDeflate'> {
  if (compression === undefined) return { perMessageDeflate: false }
  const { memoryLevel } = compression.compressor
  // The threshold is PortableConnection's: ws applies it only where no context is taken over.
  return { perMessageDeflate: { threshold: 0, zlibDeflateOptions: { memLevel: memoryLevel } } }
}
