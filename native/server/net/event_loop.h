// µWebSockets' side of a libuv loop.
#pragma once

#include <uv.h>

#include <memory>

#include "server/net/turns.h"
#include "server/uws/socket_set.h"
#include "server/uws/upstream_loop.h"

namespace nws {

/// Attaches µWebSockets to a libuv loop. At most one at a time for each thread, because µWebSockets finds its
/// loop through a thread-local variable; everything that uses it (WebSocketServer) must be gone before.
///
/// The destructor only asks libuv to close its handles: the loop must run once more before it is closed
/// itself.
class EventLoop {
 public:
  explicit EventLoop(uv_loop_t *loop);
  EventLoop(const EventLoop &) = delete;
  EventLoop &operator=(const EventLoop &) = delete;

  /// The thread waits in the sockets' own set, wherever it can. Only for a loop that libuv runs until nothing
  /// keeps it alive. See SocketWait.
  void wait_in_socket_set();

  uv_loop_t *uv() const { return uv_; }
  Turns &turns() { return turns_; }

 private:
  uv_loop_t *uv_;
  /// Null where there is none.
  std::unique_ptr<SocketSet> sockets_;
  UpstreamLoop upstream_;
  Turns turns_;
};

}  // namespace nws
