/** Headers of the PROXY protocol, version 2, right and wrong: HAProxy's proxy-protocol.txt, section 2.2. */

export const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')

export interface ProxyHeaderParts {
  /** Version and command. Default 0x21: version 2, PROXY. */
  readonly command?: number
  /** Address family and transport. Default 0x11: TCP over IPv4. */
  readonly family?: number
  /** Addresses, ports and TLVs. */
  readonly body?: Uint8Array
  /** What the header claims as the length of the body, where it is not so. */
  readonly claimedLength?: number
}

export function proxyHeader({ command = 0x21, family = 0x11, body = tcp4(), claimedLength }: ProxyHeaderParts = {}): Buffer {
  const fixed = Buffer.from([command, family, 0, 0])
  fixed.writeUInt16BE(claimedLength ?? body.length, 2)
  return Buffer.concat([SIGNATURE, fixed, body])
}

/** Source and destination: 192.0.2.7:50000 to 198.51.100.1:443 unless told otherwise. */
export function tcp4(source: readonly number[] = [192, 0, 2, 7]): Buffer {
  return Buffer.concat([Buffer.from([...source, 198, 51, 100, 1]), ports()])
}

/** The 16 bytes of the source in hexadecimal. */
export function tcp6(source: string): Buffer {
  return Buffer.concat([Buffer.from(source, 'hex'), Buffer.from('20010db8000000000000000000000001', 'hex'), ports()])
}

/** The two paths of a unix socket, of 108 bytes each. */
export const unixPaths = (): Buffer => Buffer.alloc(216, '/run/client.sock\0', 'latin1')

/** One TLV that fills the header up to a length. */
export function padding(bytes: number): Buffer {
  const tlv = Buffer.alloc(bytes, 'x')
  tlv.writeUInt8(4, 0) // PP2_TYPE_NOOP
  tlv.writeUInt16BE(bytes - 3, 1)
  return tlv
}

function ports(): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt16BE(50_000, 0)
  bytes.writeUInt16BE(443, 2)
  return bytes
}
