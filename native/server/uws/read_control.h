// Lets a connection stop reading its peer. µSockets starts to read again by itself in two cases: whenever a
// write fails, it polls for both directions; and when the socket is writable, µWebSockets arms the idle
// timeout. So whatever writes to a paused socket calls ReadControl::stop afterwards; and what µWebSockets
// does when a socket is writable is followed by it too.
//
// Behind the peer's FIN there is nothing to read, but what waits for the peer is still written: µWebSockets
// and µSockets would just close the connection.
//
// It gets there by taking the place of us_socket_context_on_writable and us_socket_context_on_end while
// µWebSockets' headers are compiled, as http_connection_state.h does with the data. Include this before
// App.h.
#pragma once

#ifdef UWS_APP_H
#error "read_control.h must be included before App.h"
#endif

#include "server/uws/timeouts.h"  // before App.h, too

#include <libusockets.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <uv.h>

namespace nws {

class ReadControl {
 public:
  using OnWritable = us_socket_t *(*)(us_socket_t *);
  using OnEnd = us_socket_t *(*)(us_socket_t *);

  /// What µWebSockets has registered on this thread, for plain connections or for TLS.
  struct Registered {
    OnWritable http = nullptr;
    OnWritable websocket = nullptr;
    OnEnd http_end = nullptr;
  };
  static Registered &registered(bool ssl) {
    static thread_local Registered of[2];
    return of[ssl];
  }

  /// The peer is not read, and its silence does not count. `writes`: bytes wait for the peer.
  static void stop(bool ssl, void *socket, bool writes) {
    auto *s = static_cast<us_socket_t *>(socket);
    change(ssl, s, writes ? UV_WRITABLE : 0);
    us_socket_timeout(ssl, s, 0);
  }
  /// Likewise, but the context's on_end is told when the peer has sent FIN behind what is not read, once for
  /// each call of this. A reset closes the socket. `writes`: bytes wait for the peer.
  static void stop_until_end(bool ssl, void *socket, bool writes) {
    auto *s = static_cast<us_socket_t *>(socket);
    change(ssl, s, UV_DISCONNECT | (writes ? UV_WRITABLE : 0));
    us_socket_timeout(ssl, s, 0);
  }
  /// The socket is not polled at all, until it has its turn: not even its reset is noticed, so that nothing
  /// that came before is lost by it.
  static void park(bool ssl, void *socket) {
    auto *s = static_cast<us_socket_t *>(socket);
    change(ssl, s, 0);
    us_socket_timeout(ssl, s, 0);
  }
  /// `writes`: bytes wait for the peer. The timeout stays what it is.
  static void unpark(bool ssl, void *socket, bool writes) {
    change(ssl, static_cast<us_socket_t *>(socket), UV_READABLE | (writes ? UV_WRITABLE : 0));
  }
  /// The peer has sent FIN, which would be found over and over. `writes`: bytes wait for the peer. The
  /// timeout stays what it is.
  static void stop_at_end(bool ssl, void *socket, bool writes) {
    change(ssl, static_cast<us_socket_t *>(socket), writes ? UV_WRITABLE : 0);
  }
  /// `timeout`: seconds of silence, from now on.
  static void start(bool ssl, void *socket, unsigned timeout) {
    auto *s = static_cast<us_socket_t *>(socket);
    change(ssl, s, us_poll_events(reinterpret_cast<us_poll_t *>(s)) | UV_READABLE);
    us_socket_timeout(ssl, s, timeout);
  }

  /// Whether the kernel has something that the peer has sent, FIN aside.
  static bool has_unread(void *socket) {
    int length = 0;
    return ::ioctl(us_poll_fd(static_cast<us_poll_t *>(socket)), FIONREAD, &length) == 0 && length > 0;
  }

  /// Whether the connection has been reset. Then it counts as writable, over and over; and where a write was
  /// told of the reset, reading finds no error but an end.
  static bool is_reset(void *socket) {
    pollfd descriptor{us_poll_fd(static_cast<us_poll_t *>(socket)), 0, 0};
    return ::poll(&descriptor, 1, 0) == 1 && (descriptor.revents & (POLLERR | POLLHUP));
  }

 private:
  static void change(bool ssl, us_socket_t *s, int events) {
    if (!us_socket_is_closed(ssl, s)) {
      us_poll_change(reinterpret_cast<us_poll_t *>(s), us_socket_context_loop(ssl, us_socket_context(ssl, s)), events);
    }
  }
};

/// Defined in websocket_readiness.h: writes what waits for a WebSocket's peer.
template <bool SSL>
us_socket_t *write_websocket(us_socket_t *socket);

/// Defined in websocket_server.cpp: likewise, on an HTTP connection.
template <bool SSL>
us_socket_t *write_http(us_socket_t *socket);

/// Stands in for us_socket_context_on_writable. The first handler of a kind is HttpContext's: it is there
/// before any WebSocket.
inline void register_on_writable(int ssl, us_socket_context_t *context, ReadControl::OnWritable handler) {
  ReadControl::Registered &registered = ReadControl::registered(ssl != 0);
  if (!registered.http || registered.http == handler) {
    registered.http = handler;
    handler = ssl ? write_http<true> : write_http<false>;
  } else {
    registered.websocket = handler;
    handler = ssl ? write_websocket<true> : write_websocket<false>;
  }
  us_socket_context_on_writable(ssl, context, handler);
}

/// Defined in websocket_server.cpp: takes the FIN of an HTTP connection's client.
template <bool SSL>
us_socket_t *end_http(us_socket_t *socket);

/// Defined in websocket_readiness.h: takes the FIN of a WebSocket's peer.
template <bool SSL>
us_socket_t *end_websocket(us_socket_t *socket);

/// Stands in for us_socket_context_on_end, likewise. Ours are registered where the FIN itself is reported,
/// below TLS, in place of ssl_on_end too.
inline void register_on_end(int ssl, us_socket_context_t *context, ReadControl::OnEnd handler) {
  ReadControl::Registered &registered = ReadControl::registered(ssl != 0);
  if (!registered.http_end || registered.http_end == handler) {
    registered.http_end = handler;
    handler = ssl ? end_http<true> : end_http<false>;
  } else {
    handler = ssl ? end_websocket<true> : end_websocket<false>;
  }
  us_socket_context_on_end(0, context, handler);
}

}  // namespace nws

#define us_socket_context_on_writable nws::register_on_writable
#define us_socket_context_on_end nws::register_on_end
