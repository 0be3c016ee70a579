/**
 * How much one connection gets in one turn of the event loop on the portable engine;
 * native/server/net/turns.h has the numbers of the native one. A connection that has used up any of these
 * waits for the next turn, and the others come first. A client that stays below them, as nearly all do, is
 * never held up.
 */

/**
 * Bytes read from one connection. What one system call of libuv or µSockets brings: both read into buffers
 * of 64 KiB or more, so that a smaller number would cut what has been read already, and a larger one would
 * let a fast client keep the loop for itself.
 */
export const MAX_BYTES_PER_TURN = 64 * 1024

/**
 * HTTP requests begun on one connection. A request that does nothing costs 10 to 60 µs, so that a client
 * which pipelines as many as it can takes a millisecond at most. Browsers do not pipeline, and well-behaved
 * programs that do have fewer under way.
 */
export const MAX_REQUESTS_PER_TURN = 16

/**
 * Frames of WebSocket, pieces of a request's body and the like, of one connection. A message whose handler
 * does little costs 1 to 4 µs, so that a client which sends the shortest ones takes a millisecond at most,
 * as one with requests does.
 */
export const MAX_EVENTS_PER_TURN = 256

/**
 * Bytes of a message, beyond which it is delivered in a turn of its connection for itself, behind all who
 * have had none: it takes 10 to 100 µs for each 16 KiB to make a string of a text, in one go. As many as are
 * read in a turn, so that nothing shorter is any dearer.
 */
export const LONG_MESSAGE = MAX_BYTES_PER_TURN

/**
 * Bytes that come out of one connection's decompressor. Inflating takes about a millisecond for each MiB. A
 * message that gets longer than this is finished in later turns.
 */
export const MAX_INFLATED_BYTES_PER_TURN = 1024 * 1024

/**
 * Bytes of one connection that were read, and wait for their turn, for an answer to the request before
 * them, or for the end of an upgrade. With more than this its socket is not read, and the window of TCP
 * stops the client. As large as one read, since a smaller number would not stop any earlier.
 */
export const MAX_HELD_BYTES = 64 * 1024

/**
 * Bytes of answers to HTTP requests of one connection that the client has not taken. With more than this no
 * further request begins on it. An answer may be larger itself: the limit is for beginning another one
 * behind it. As much as is held of the requests.
 */
export const MAX_UNREAD_RESPONSE_BYTES = 64 * 1024

/**
 * TLS handshakes begun in one turn, on all connections together. The server's signature alone takes 0.5 to
 * 1 ms with an RSA key of 2048 bits: a storm of new clients takes 16 ms of a turn at most, and who is
 * connected is served in between.
 */
export const MAX_TLS_HANDSHAKES_PER_TURN = 16
