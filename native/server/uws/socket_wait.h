// Where the thread of a loop waits: in libuv, which waits for the sockets' epoll set as for one descriptor,
// or in that set, which then has libuv's descriptor in it.
//
// Why: libuv asks the kernel twice before the thread sleeps, since Node has idle time counted, and finds out
// no more than that the set has something; the set must then be asked itself. In the set, a message costs one
// wait instead of three. docs/performance-log.md has what that saves.
//
// What must stay true, wherever the thread waits:
//
//   - libuv gets a turn, without waiting in it, as soon as it has something: its descriptor is ready, a timer
//     is due, or uv_backend_timeout says so otherwise (immediates, closing handles, new watchers, a stop);
//   - it gets one 100 ms after JavaScript has run at the latest, however busy the sockets are, for what does
//     not show in that: immediates that were unreferenced, for example;
//   - other addons' prepare and check handles run in every iteration: where there are any, which is looked
//     for in each of libuv's turns, the thread waits in libuv;
//   - a run of the loop inside one of its callbacks, by another addon, waits as libuv would, or does not: it
//     waits in libuv;
//   - what is waited here counts as idle (server/net/loop_idle_time.h).
#pragma once

#ifdef __linux__

#include <uv.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "server/net/loop_idle_time.h"
#include "server/uws/wait_timer.h"

namespace nws {

/// What a look into an epoll set has found.
struct Readiness {
  /// Sockets, which have been dealt with.
  bool sockets = false;
  /// libuv's descriptor.
  bool libuv = false;
};

/// How long a look may wait for the first socket.
struct Waiting {
  /// Milliseconds, -1 until the set has something.
  int timeout = 0;
  /// Counts the waiting, which begins at `since`, by uv_hrtime; null if there is none.
  LoopIdleTime *idle = nullptr;
  std::uint64_t since = 0;
};

/// Of one loop, on its thread. The thread waits in libuv until `wait_in_set` is called.
class SocketWait {
 public:
  /// Looks into the set, and deals with the sockets that are ready.
  using Look = std::function<Readiness(Waiting)>;

  /// `set` is an epoll descriptor, and outlives this. Null when libuv refuses it.
  static std::unique_ptr<SocketWait> create(uv_loop_t *loop, int set, Look look);
  /// Only asks libuv to close its handles: the loop must run once more.
  ~SocketWait();
  SocketWait(const SocketWait &) = delete;
  SocketWait &operator=(const SocketWait &) = delete;

  /// Whether the sockets keep the loop alive. At first they do not.
  void keep_alive(bool keeps);

  /// The thread waits in the set from now on, wherever it can. Only for a loop that runs until nothing keeps
  /// it alive (UV_RUN_DEFAULT): for one that is run in steps, this would wait where libuv must not.
  /// `end_turn` does what a turn of libuv would do behind its poll phase, and before the next one.
  void wait_in_set(std::function<void()> end_turn);

 private:
  struct Handles;

  SocketWait(std::unique_ptr<Handles> handles, int set, Look look);
  void prepare();
  /// Whether the loop is run by a callback of its own.
  bool is_nested();
  /// Whether the thread may wait in the set now; and changes to what it may.
  bool waits_in_set();
  void wait_in_libuv();
  void wait();

  Handles *handles_;  // libuv's, which gives them back to be deleted
  uv_loop_t *loop_;
  int set_;
  Look look_;
  LoopIdleTime idle_;
  WaitTimer timer_;
  std::function<void()> end_turn_;
  bool in_set_ = false;
  /// The highest address of a frame of `is_nested`.
  std::uintptr_t outermost_ = 0;
  /// Whether the prepare handles are ours alone; not known before libuv's first turn is over.
  bool is_alone_ = false;
};

}  // namespace nws

#endif
