// Lets a connection stop reading its peer. µSockets starts to read again by itself in two cases: whenever a
// write fails, it polls for both directions; and when the socket is writable, µWebSockets arms the idle
// timeout. So whatever writes to a paused socket calls ReadControl::stop afterwards; and what µWebSockets
// does when a socket is writable is followed by it too.
//
// Behind the peer's FIN there is nothing to read, but what waits for the peer is still written: µWebSockets
// and µSockets would just close the connection.
#pragma once

#include <libusockets.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <uv.h>

#ifdef __linux__
#include <linux/sockios.h>
#endif

#include <limits>

#include "server/uws/socket_dispatch.h"
#include "server/uws/socket_set.h"
#include "server/uws/timeouts.h"

namespace nws {

class ReadControl {
 public:
  /// The peer is not read, and its silence does not count. On Linux, the context's on_end is told of a reset,
  /// once for each call of this. `writes`: bytes wait for the peer.
  static void stop(bool ssl, void *socket, bool writes) {
    auto *s = static_cast<us_socket_t *>(socket);
    change(ssl, s, SocketSet::reset_only | (writes ? UV_WRITABLE : 0));
    Timeouts::set(ssl, s, 0);
  }
  /// Likewise, but the context's on_end is told when the peer has sent FIN behind what is not read, once for
  /// each call of this. A reset closes the socket. `writes`: bytes wait for the peer.
  static void stop_until_end(bool ssl, void *socket, bool writes) {
    auto *s = static_cast<us_socket_t *>(socket);
    change(ssl, s, UV_DISCONNECT | (writes ? UV_WRITABLE : 0));
    Timeouts::set(ssl, s, 0);
  }
  /// The peer is not read until the connection has its turn. `writes`: bytes wait for the peer; without such
  /// bytes the socket is not polled at all, not even for its reset, so that what came before is not lost by
  /// it. With them, the context's on_end is told of a reset, on Linux. FrameReader looks for a reset itself
  /// where the client compresses.
  static void park(bool ssl, void *socket, bool writes) {
    auto *s = static_cast<us_socket_t *>(socket);
    change(ssl, s, writes ? SocketSet::reset_only | UV_WRITABLE : 0);
    Timeouts::set(ssl, s, 0);
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
    Timeouts::set(ssl, s, timeout);
  }

  /// Whether the kernel has something that the peer has sent, FIN aside.
  static bool has_unread(void *socket) {
    int length = 0;
    return ::ioctl(us_poll_fd(static_cast<us_poll_t *>(socket)), FIONREAD, &length) == 0 && length > 0;
  }

  /// Whether the kernel has something for the peer that the peer's system has not acknowledged. False where
  /// the system does not tell.
  static bool has_unacknowledged(void *socket) {
#ifdef __linux__
    int length = 0;
    return ::ioctl(us_poll_fd(static_cast<us_poll_t *>(socket)), SIOCOUTQ, &length) == 0 && length > 0;
#else
    static_cast<void>(socket);
    return false;
#endif
  }

  /// Throws away what the kernel has of a connection that has been reset.
  static void drop_unread(void *socket) {
#ifdef __linux__
    ::recv(us_poll_fd(static_cast<us_poll_t *>(socket)), nullptr, std::numeric_limits<int>::max(), MSG_TRUNC | MSG_DONTWAIT);
#endif
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
      change_poll(s, events);
    }
  }
};

}  // namespace nws
