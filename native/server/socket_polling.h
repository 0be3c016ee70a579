// Stops and restarts to read a connection.
#pragma once

#include <libusockets.h>
#include <uv.h>

namespace nws {

/// uSockets polls with the flags of libuv. Other than AsyncSocket::pause and ::resume, this leaves alone whether the socket waits
/// for room to write. A write that fails makes uSockets read again (socket.c, us_socket_write).
template <bool SSL>
void set_reading(us_socket_t *socket, bool reads) {
  auto *poll = reinterpret_cast<us_poll_t *>(socket);
  int others = us_poll_events(poll) & ~UV_READABLE;
  us_poll_change(poll, us_socket_context_loop(SSL, us_socket_context(SSL, socket)), reads ? others | UV_READABLE : others);
}

}  // namespace nws
