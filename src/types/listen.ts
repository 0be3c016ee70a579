/** Where a server listens. */

/** A port to listen on. */
export interface TcpListenOptions {
  /** 0 to 65535; 0 (the default) lets the system choose, and `listen` says which. */
  port?: number
  /** A name or address of this machine. Default: all addresses, IPv6 and IPv4. */
  host?: string
  /**
   * Share the port with other servers that set `reusePort` too (SO_REUSEPORT), in this process, in other
   * threads or processes of the same user; Linux spreads new connections over these servers, macOS does not.
   * Workers of `node:cluster` need this option: without it the second worker gets EADDRINUSE, since each
   * server has a listening socket of its own. On the portable engine this option needs Node.js 22.12 or 23.1;
   * with an earlier release it is an OptionError. Default false.
   */
  reusePort?: boolean
  /** Not with a port. */
  unix?: never
  /** Not with a port. */
  fd?: never
}

/** A unix socket to listen on. */
export interface UnixListenOptions {
  /**
   * The path, at most 107 bytes on Linux and 103 on macOS; the file must not exist. The server makes the file
   * with the permissions that the umask leaves, and removes it when the server stops listening.
   * `remoteAddress` is empty on a unix socket.
   */
  unix: string
  /** None of these with a unix socket. */
  port?: never
  /** See `port`. */
  host?: never
  /** See `port`. */
  reusePort?: never
  /** See `port`. */
  fd?: never
}

/** A socket that is open already: one that systemd has passed to the process, or a parent. */
export interface FdListenOptions {
  /**
   * The number of its file descriptor, 0 to 2^31-1: of TCP or unix, and bound to its address. The first
   * socket that systemd passes is 3 (`LISTEN_FDS` says how many there are). The server owns the descriptor
   * from this call on: it closes the descriptor when it stops listening, and after a `listen` that rejects
   * the descriptor may be closed or open. The file of a unix socket stays. The process must not use the
   * descriptor for anything else. Not on Windows.
   */
  fd: number
  /** None of these with a descriptor, which has its address already. */
  port?: never
  /** See `port`. */
  host?: never
  /** See `port`. */
  reusePort?: never
  /** See `port`. */
  unix?: never
}

/** Where to listen: a port, a unix socket, or a socket that is open already. */
export type ListenOptions = TcpListenOptions | UnixListenOptions | FdListenOptions

/** The port on which a server listens. */
export interface TcpListenResult {
  /** The port in use, chosen by the system when 0 was asked for. */
  readonly port: number
  /** The numeric address that `host` came to: `::` for all addresses, or `0.0.0.0` where there is no IPv6. */
  readonly host: string
  /** Only of a unix socket. */
  readonly unix?: never
  /** Only of a socket that was open already. */
  readonly fd?: never
}

/** The unix socket on which a server listens. */
export interface UnixListenResult {
  /** The path as it was given. */
  readonly unix: string
  /** Only of a port. */
  readonly port?: never
  /** Only of a port. */
  readonly host?: never
  /** Only of a socket that was open already. */
  readonly fd?: never
}

/** The socket on which a server listens, and which was open already. */
export interface FdListenResult {
  /** The descriptor as it was given. */
  readonly fd: number
  /** Its port; left out for a unix socket. */
  readonly port?: number
  /** Its numeric address; left out for a unix socket. */
  readonly host?: string
  /** Not told. */
  readonly unix?: never
}

/** Where a server listens. */
export type ListenResult = TcpListenResult | UnixListenResult | FdListenResult
