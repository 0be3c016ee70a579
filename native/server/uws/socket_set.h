// A seam. In place of libuv's uv_poll_init_socket, uv_poll_start, uv_poll_stop and uv_close, as µSockets
// calls them for its polls.
//
// Why: to poll a socket, from its beginning to its end, takes libuv six calls of epoll_ctl, and here two.
// docs/performance.md has what that saves.
//
// At the next release: all that eventing/libuv.c (µSockets) calls for a poll are these four functions, which
// CMakeLists.txt renames, and uv_is_closing; loop.c frees a closed socket at the end of an iteration.
#pragma once

#include <uv.h>

#include <memory>

namespace nws {

/// An epoll set of a thread's own for the sockets of µSockets, which libuv waits for as for one descriptor.
/// Each iteration of the loop costs one system call more, however many sockets are ready.
///
/// µSockets is compiled to call the functions at the end of socket_set.cpp instead of libuv's for its polls
/// (CMakeLists.txt). They behave as libuv's do; where there is no set, because the system has no epoll or no
/// descriptor to spare, they are libuv's.
class SocketSet {
 public:
  /// For the polls that µSockets makes from now on, on this thread; before the first of them. Null where
  /// there is none.
  static std::unique_ptr<SocketSet> create(uv_loop_t *loop);
  /// Null where there is none.
  static SocketSet *current();

  /// After the last poll has been stopped. Only asks libuv to close its handle: the loop must run once more.
  ~SocketSet();
  SocketSet(const SocketSet &) = delete;
  SocketSet &operator=(const SocketSet &) = delete;

  /// A combination of uv_poll_event, 0 for none. While it waits for anything, a poll keeps the loop alive. 0,
  /// or an error as libuv's.
  int watch(uv_poll_t *poll, int events);
  /// The same, by the set of this thread or by libuv, for a poll that µSockets has started. Unlike
  /// us_poll_change it compares with all that the poll waits for: µSockets does not know UV_DISCONNECT.
  static int change(uv_poll_t *poll, int events);

 private:
  struct Handle;

  SocketSet(std::unique_ptr<Handle> handle, int descriptor);
  void dispatch();

  Handle *handle_;  // libuv's, which gives it back to be deleted
  int descriptor_;
  /// Polls that wait for something.
  unsigned active_ = 0;
  /// The poll that the next iteration begins with, because all had been read that a turn may read (turns.h).
  /// It may have gone since: it is compared, and nothing else.
  const void *next_ = nullptr;
};

}  // namespace nws
