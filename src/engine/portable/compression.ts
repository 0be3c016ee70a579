/** What `ws` is told about permessage-deflate for one client. */
import type { ServerOptions as WsOptions } from 'ws'
import type { CompressionAgreement } from '../contract.js'

/**
 * For messages that are sent: FrameReader reads compressed messages that come. The windows are not in here:
 * `ws` reads them from the offer that `accept` gives to `ws`.
 */
export function compressionOf(compression: CompressionAgreement | undefined): Pick<WsOptions, 'perMessageDeflate'> {
  if (compression === undefined) return { perMessageDeflate: false }
  const { memoryLevel } = compression.compressor
  // The threshold is PortableConnection's: ws applies it only where no context is taken over.
  return { perMessageDeflate: { threshold: 0, zlibDeflateOptions: { memLevel: memoryLevel } } }
}
