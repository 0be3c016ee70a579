#include "server/uws/tls_write_deferral.h"

#include "server/uws/upstream.h"

namespace nws {

int TlsWriteDeferral::write(int ssl, us_socket_t *socket, const char *data, int length, int more) {
  std::size_t waiting =
      ssl ? frames::Corkable<true>::of(socket)->getBufferedAmount() : frames::Corkable<false>::of(socket)->getBufferedAmount();
  if (waiting == 0) {
    return us_socket_write(ssl, socket, data, length, more);
  }
  auto *poll = reinterpret_cast<us_poll_t *>(socket);
  int events = us_poll_events(poll);
  bool is_full = (events & UV_WRITABLE) && !WritableScope::is_open(socket);
  if ((socket != guarded() && !is_full) || us_socket_is_shut_down(ssl, socket)) {
    return us_socket_write(ssl, socket, data, length, more);
  }
  // One that is not polled at all has been reset, and waits for a turn.
  if (events != 0) {
    us_poll_change(poll, us_socket_context_loop(ssl, us_socket_context(ssl, socket)), events | UV_WRITABLE);
  }
  return 0;
}

}  // namespace nws
