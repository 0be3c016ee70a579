// A seam (see upstream.h). In place of us_socket_shutdown and us_socket_close, where µWebSockets calls them.
//
// Why: µWebSockets closes a connection right behind its response to what its parser cannot read. More than
// that may have come, and closing would reset the connection: earlier responses, which are still on their way
// to the client, would be lost.
//
// At the next release: HttpContext.h still ends such a connection by us_socket_shutdown and us_socket_close
// behind it, inside of its data handler, and touches the socket no more after that.
#pragma once

#include <libusockets.h>

#include <utility>

namespace nws {

/// While it lives, µWebSockets' parser reads what came on a socket. If it would end the connection then,
/// behind its last bytes, it sets `has_ended` instead, and the connection is still to be ended. Belongs to
/// the loop's thread.
class ParserScope {
 public:
  ParserScope(us_socket_t *socket, bool &has_ended)
      : socket_(socket), has_ended_(has_ended), outer_(std::exchange(current(), this)) {}
  ~ParserScope() { current() = outer_; }
  ParserScope(const ParserScope &) = delete;
  ParserScope &operator=(const ParserScope &) = delete;

  /// Stands in for us_socket_shutdown.
  static void shutdown(int ssl, us_socket_t *socket) {
    if (current() && current()->socket_ == socket) {
      current()->has_ended_ = true;
    } else {
      us_socket_shutdown(ssl, socket);
    }
  }
  /// Stands in for us_socket_close.
  static us_socket_t *close(int ssl, us_socket_t *socket, int code, void *reason) {
    bool is_left_open = current() && current()->socket_ == socket && current()->has_ended_;
    return is_left_open ? socket : us_socket_close(ssl, socket, code, reason);
  }

 private:
  static ParserScope *&current() {
    static thread_local ParserScope *scope = nullptr;
    return scope;
  }

  us_socket_t *socket_;
  bool &has_ended_;
  ParserScope *outer_;
};

}  // namespace nws
