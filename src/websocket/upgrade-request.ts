/** The request for a WebSocket connection as users see it. */
import type { IncomingMessage } from 'node:http'
import type { RequestHead } from '../engine/contract.js'
import type { CertificateReader } from '../http/late-facts.js'
import { headerOf, IncomingRequest } from '../http/request.js'
import type { Target } from '../http/target.js'
import type { Params, UpgradeRequest } from '../types/index.js'

export class IncomingUpgrade extends IncomingRequest implements UpgradeRequest {
  readonly origin: string | undefined
  readonly protocols: readonly string[]
  declare readonly incoming?: IncomingMessage

  constructor(
    head: RequestHead,
    target: Target,
    params: Params<string>,
    protocols: readonly string[],
    readCertificate: CertificateReader,
  ) {
    super(head, target, params, undefined, readCertificate)
    this.origin = headerOf(head, 'origin')
    this.protocols = protocols
    if (head.incoming !== undefined) this.incoming = head.incoming
  }
}
