// A seam (see upstream.h). In place of us_socket_write, where µWebSockets calls it.
//
// Why: a write to a TLS socket that is being read makes µSockets forget what it has received and not
// decrypted yet (openssl.c, us_internal_ssl_socket_write), so that the next record fails its check and the
// connection is lost. Our own events write nothing then, but µWebSockets does, by itself: what waits for the
// peer goes out when its parser has returned.
//
// At the next release: AsyncSocket.h and HttpContext.h write by us_socket_write alone, and keep what it does
// not take. If a write no longer loses undecrypted input, TlsWriteDeferral may go, and so may the rule that
// nothing is written while a socket is being read.
#pragma once

#include <libusockets.h>

#include <utility>

namespace nws {

/// While it lives, what waits for the socket's peer goes on waiting, as if the kernel took nothing. Where
/// nothing waits a write goes through: it is the last word to a peer that made an error. Belongs to the
/// loop's thread.
class TlsWriteDeferral {
 public:
  /// `needed`: whether there is a reason; it does nothing else. TLS that is being read is one, and so is a
  /// socket that waits for its turn to be parsed, which may be polled for nothing (ReadControl::park).
  TlsWriteDeferral(bool needed, us_socket_t *socket)
      : needed_(needed), before_(needed ? std::exchange(guarded(), socket) : nullptr) {}
  ~TlsWriteDeferral() {
    if (needed_) {
      guarded() = before_;
    }
  }
  TlsWriteDeferral(const TlsWriteDeferral &) = delete;
  TlsWriteDeferral &operator=(const TlsWriteDeferral &) = delete;

  /// Stands in for us_socket_write.
  static int write(int ssl, us_socket_t *socket, const char *data, int length, int more);

 private:
  static us_socket_t *&guarded() {
    static thread_local us_socket_t *socket = nullptr;
    return socket;
  }

  bool needed_;
  us_socket_t *before_;
};

/// While it lives, what waits for this socket may be written: the kernel has said that it takes some. Outside
/// of it, no write is tried behind bytes that the kernel did not take: µWebSockets tries one with each
/// message, and each would fail. Belongs to the loop's thread.
class WritableScope {
 public:
  explicit WritableScope(us_socket_t *socket) : before_(std::exchange(writable(), socket)) {}
  ~WritableScope() { writable() = before_; }
  WritableScope(const WritableScope &) = delete;
  WritableScope &operator=(const WritableScope &) = delete;

  static bool is_open(us_socket_t *socket) { return writable() == socket; }

 private:
  static us_socket_t *&writable() {
    static thread_local us_socket_t *socket = nullptr;
    return socket;
  }

  us_socket_t *before_;
};

}  // namespace nws
