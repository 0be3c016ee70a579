// A seam. What happens to a socket that is ready, in place of µSockets' us_internal_dispatch_ready_poll
// (loop.c): SocketSet calls dispatch_socket instead.
//
// Why:
//
//   - a socket is read once in a turn, for as much as the receive buffer holds; µSockets reads on while the
//     buffer is full, and a client that sends without a pause would keep the loop to itself;
//   - a TLS handshake that has to wait for its turn stays in the kernel, unread, and the loop asks for it
//     again; µSockets keeps such sockets in a list of their own, the newest first, so that a stream of new
//     clients starves those that came before;
//   - what came before an error is read before the error is;
//   - a socket that is not read can wait for its peer's FIN (UV_DISCONNECT), or for a reset alone
//     (SocketSet::reset_only), which its context's on_end is told.
//
// At the next release: what loop.c does for a connected socket that is writable or readable; nothing but
// is_low_prio puts a socket into the list of low priority.
#pragma once

#include <libusockets.h>

#include <cstddef>

namespace nws {

class Turns;

/// A connected socket, on its loop's thread; status and events are those of a libuv poll callback, `turns`
/// the thread's, where it has any. Returns how many bytes were read.
std::size_t dispatch_socket(us_socket_t *socket, int status, int events, Turns *turns);

/// us_poll_change, which compares with all that the socket waits for: µSockets knows neither UV_DISCONNECT
/// nor SocketSet::reset_only, and would leave them where nothing else changes.
void change_poll(us_socket_t *socket, int events);

}  // namespace nws
