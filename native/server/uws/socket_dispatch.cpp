#include "server/uws/socket_dispatch.h"

#include <libusockets.h>

#include "server/net/lent_memory.h"
#include "server/net/turns.h"
#include "server/uws/socket_set.h"
#include "server/uws/upstream_internals.h"  // µSockets has no public way to dispatch a socket

namespace nws {

namespace {

/// The socket was writable. Null when it has closed.
us_socket_t *write_ready(us_socket_t *socket) {
  us_loop_t *loop = socket->context->loop;
  loop->data.last_write_failed = 0;
  socket = socket->context->on_writable(socket);
  if (us_socket_is_closed(0, socket)) {
    return nullptr;
  }
  if (!loop->data.last_write_failed || us_socket_is_shut_down(0, socket)) {
    us_poll_change(&socket->p, loop, us_poll_events(&socket->p) & LIBUS_SOCKET_READABLE);
  }
  return socket;
}

/// Returns how many bytes were read.
[[gnu::hot]] std::size_t read_ready(us_socket_t *socket, Turns *turns) {
  us_loop_t *loop = socket->context->loop;
  if (socket->context->is_low_prio(socket) && turns && !turns->take_handshake_step()) {
    return 0;  // nothing was read: the next iteration finds the socket readable again
  }
  LentMemory *lent = LentMemory::current();
  char *buffer = lent ? lent->begin_reading() : nullptr;
  if (!buffer) {
    buffer = static_cast<char *>(loop->data.recv_buf) + LIBUS_RECV_BUFFER_PADDING;
  }
  int length = bsd_recv(us_poll_fd(&socket->p), buffer, LIBUS_RECV_BUFFER_LENGTH, 0);
  if (length > 0) {
    if (turns) {
      turns->spend_read(static_cast<std::size_t>(length));
    }
    socket->context->on_data(socket, buffer, length);
  }
  if (lent) {
    lent->end_reading();
  }
  if (length > 0) {
    return static_cast<std::size_t>(length);
  }
  if (length == 0 && !us_socket_is_shut_down(0, socket)) {
    // The peer's FIN: there is nothing more to read.
    us_poll_change(&socket->p, loop, us_poll_events(&socket->p) & LIBUS_SOCKET_WRITABLE);
    socket->context->on_end(socket);
  } else if (length == 0 || !bsd_would_block()) {
    us_socket_close(0, socket, 0, nullptr);
  }
  return 0;
}

/// The peer's FIN, or a reset, behind input that is not read. It is reported once, until the poll is changed
/// to wait for it again.
void end_seen(us_socket_t *socket) {
  int events = us_poll_events(&socket->p);
  if (events & LIBUS_SOCKET_READABLE) {
    return;  // reading finds out about it
  }
  SocketSet::change(poll_of(socket), events);
  socket->context->on_end(socket);
}

}  // namespace

[[gnu::hot]] std::size_t dispatch_socket(us_socket_t *socket, int status, int events, Turns *turns) {
  if (status < 0) {
    us_socket_close(0, socket, 0, nullptr);
    return 0;
  }
  if ((events & UV_WRITABLE) && !(socket = write_ready(socket))) {
    return 0;
  }
  // What was written may have let the connection do something, after which its input has to wait.
  if (events & us_poll_events(&socket->p) & UV_READABLE) {
    return read_ready(socket, turns);
  }
  if (events & UV_DISCONNECT) {
    end_seen(socket);
  }
  return 0;
}

void change_poll(us_socket_t *socket, int events) {
  if (us_poll_events(&socket->p) != events) {
    us_poll_change(&socket->p, socket->context->loop, events);
  } else if (SocketSet::current()) {
    SocketSet::change(poll_of(socket), events);
  }
}

}  // namespace nws
