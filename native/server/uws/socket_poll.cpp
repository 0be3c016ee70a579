// What µSockets calls for its polls (eventing/libuv.c): the set does the work, or libuv where there is none.
#include "server/uws/socket_poll.h"

#include <cstddef>
#include <memory>
#include <utility>

#include "server/uws/socket_dispatch.h"
#include "server/uws/socket_set.h"

namespace nws {

int SocketSet::change(SocketPoll *poll, int events) {
  if (current()) {
    return current()->watch(poll, events);
  }
  if (!poll->in_libuv) {
    return UV_EBADF;
  }
  return uv_poll_start(poll->in_libuv, events & ~reset_only, [](uv_poll_t *ready, int status, int seen) {
    Turns *turns = Turns::current();
    dispatch_socket(static_cast<us_socket_t *>(static_cast<SocketPoll *>(ready->data)->data), status, seen, turns);
    if (turns) {
      turns->hand_over_if_due();
    }
  });
}

}  // namespace nws

using nws::SocketPoll;
using nws::SocketSet;

extern "C" {

int nws_poll_init_socket(uv_loop_t *loop, SocketPoll *poll, uv_os_sock_t descriptor) {
  static_assert(offsetof(SocketPoll, type) == offsetof(uv_handle_t, type));
  void *data = poll->data;  // µSockets has set it before
  *poll = {};
  poll->data = data;
  poll->descriptor = descriptor;
  if (SocketSet::current()) {
    SocketSet::begin(poll);
    return 0;
  }
  auto handle = std::make_unique<uv_poll_t>();
  int error = uv_poll_init_socket(loop, handle.get(), descriptor);
  if (!error) {
    handle->data = poll;
    poll->in_libuv = handle.release();
  }
  return error;
}

/// In place of µSockets' callback: the only polls that it starts here are those of connected sockets.
int nws_poll_start(SocketPoll *poll, int events, nws_poll_callback) { return SocketSet::change(poll, events); }

int nws_poll_stop(SocketPoll *poll) {
  if (SocketSet::current()) {
    SocketSet::current()->stop(poll);
    return 0;
  }
  return poll->in_libuv ? uv_poll_stop(poll->in_libuv) : 0;
}

/// A poll needs no callback: for µSockets it is mostly not closing then, and is freed like any memory.
void nws_close(uv_handle_t *handle, uv_close_cb callback) {
  if (handle->type != UV_UNKNOWN_HANDLE) {
    uv_close(handle, callback);
    return;
  }
  auto *poll = reinterpret_cast<SocketPoll *>(handle);
  if (uv_poll_t *in_libuv = std::exchange(poll->in_libuv, nullptr)) {
    uv_close(reinterpret_cast<uv_handle_t *>(in_libuv),
             [](uv_handle_t *closed) { delete reinterpret_cast<uv_poll_t *>(closed); });
  }
}

/// µSockets asks before it frees a poll, and does not if this is true: then it sets `data`, and libuv would
/// call back to free both.
int nws_is_closing(const uv_handle_t *handle) {
  auto *poll = reinterpret_cast<SocketPoll *>(const_cast<uv_handle_t *>(handle));
  return SocketSet::current() && SocketSet::current()->frees(poll);
}
}
