/**
 * How much one connection gets in one turn of the event loop on the portable engine;
 * native/server/net/turns.h has the numbers of the native one. A connection that has used up any of these
 * budgets waits for the next turn, and the others come first. A client that stays below all of them, as
 * nearly every client does, is never held up.
 */

/**
 * Bytes read from one connection. One system call of libuv or µSockets brings as many: both read into buffers
 * of 64 KiB or more, so that a smaller number would cut what has been read already, and a larger number would
 * let a fast client keep the loop for itself.
 */
export const MAX_BYTES_PER_TURN = 64 * 1024

/**
 * HTTP requests begun on one connection. A request that does nothing costs 10 to 60 µs, so that a client
 * which pipelines as many as it can takes a millisecond at most. Browsers do not pipeline, and well-behaved
 * programs that pipeline have fewer requests under way.
 */
export const MAX_REQUESTS_PER_TURN = 16

/**
 * Frames of WebSocket, pieces of a request's body and the like, of one connection. A message whose handler
 * does little costs 1 to 4 µs, so that a client which sends the shortest ones takes a millisecond at most,
 * as one with requests does.
 */
export const MAX_EVENTS_PER_TURN = 256

/**
 * A message of more bytes than this is delivered in a turn of its connection for itself, behind all
 * connections that have had no turn: to make a string of a text takes 10 to 100 µs for each 16 KiB, in one
 * go. As many bytes as are read in a turn, so that no shorter message costs more than before.
 */
export const LONG_MESSAGE = MAX_BYTES_PER_TURN

/**
 * Bytes that come out of one connection's decompressor. Inflating takes about a millisecond for each MiB. A
 * message that gets longer than this is finished in later turns.
 */
export const MAX_INFLATED_BYTES_PER_TURN = 1024 * 1024

/**
 * Bytes of one connection that were read, and wait for their turn, for the response to the request before
 * them, or for the end of an upgrade. While more wait, the socket is not read, and the window of TCP stops
 * the client. As large as one read, since a smaller number would not stop the client any earlier.
 */
export const MAX_HELD_BYTES = 64 * 1024

/**
 * Bytes of HTTP responses of one connection that the client has not taken. While there are more, no further
 * request begins on that connection. One response may be larger: the limit is for beginning another behind
 * it. The same number as for requests that wait.
 */
export const MAX_UNREAD_RESPONSE_BYTES = 64 * 1024

/**
 * TLS handshakes begun in one turn, on all connections together. The server's signature alone takes 0.5 to 1
 * ms with an RSA key of 2048 bits: a storm of new clients takes 16 ms of a turn at most, and connected
 * clients are served in between.
 */
export const MAX_TLS_HANDSHAKES_PER_TURN = 16
