// A seam. In place of libuv's uv_poll_t, and of uv_poll_init_socket, uv_poll_start, uv_poll_stop, uv_close
// and uv_is_closing, as µSockets calls them for its polls.
//
// Why: to poll a socket, from its beginning to its end, takes libuv six calls of epoll_ctl, and here two; and
// each socket keeps 40 bytes for it instead of 160. docs/performance-log.md has what that saves.
//
// At the next release: all that eventing/libuv.c (µSockets) calls for a poll are these five functions, which
// usockets_poll_names.h renames, and of its members it has `data` alone; loop.c frees a closed socket at the
// end of an iteration.
#pragma once

#include <uv.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "server/net/turns.h"
#include "server/uws/socket_poll.h"
#include "server/uws/socket_wait.h"

struct epoll_event;

namespace nws {

/// An epoll set of a thread's own for the sockets of µSockets, in which the thread waits where it can
/// (socket_wait.h).
///
/// µSockets is compiled to call the functions of socket_poll.cpp instead of libuv's for its polls
/// (usockets_poll_names.h). They behave as libuv's do; where there is no set, because the system has no epoll
/// or no descriptor to spare, libuv does the work.
///
/// A socket that gave much to read, none of which the turn's budgets count (fragments, records of TLS, pieces
/// of bodies), rests: it stands in a queue, and is not read before its turn. So a socket that newly has input
/// is read before those have their next shares.
class SocketSet final : private TurnTaker {
 public:
  /// For the polls that µSockets makes from now on, on this thread; before the first of them. Null where
  /// there is none.
  static std::unique_ptr<SocketSet> create(uv_loop_t *loop);
  /// Null where there is none.
  static SocketSet *current();

  /// After the last poll has been stopped. Only asks libuv to close its handles: the loop must run once more.
  ~SocketSet();
  SocketSet(const SocketSet &) = delete;
  SocketSet &operator=(const SocketSet &) = delete;

  /// What is read from now on counts there; the turns end before the set does.
  void count_in(Turns &turns) { turns_ = &turns; }

  /// See SocketWait.
  void wait_in_set(std::function<void()> end_turn);

  /// Beside what libuv knows: the poll waits for a reset, which comes as UV_DISCONNECT, and does not keep the
  /// loop alive by that. Where there is no set, it waits for nothing.
  static constexpr int reset_only = UV_PRIORITIZED;

  /// A poll that waits for nothing yet, and will be given to `watch`.
  static void begin(SocketPoll *poll);
  /// A combination of uv_poll_event, 0 for none. While it waits for anything, a poll keeps the loop alive. 0,
  /// or an error as libuv's: where the kernel polls for no more sockets (ENOSPC, by
  /// /proc/sys/fs/epoll/max_user_watches; ENOMEM), the socket is closed in the next turn, since µSockets
  /// drops the error, and nothing would ever be heard of the socket.
  int watch(SocketPoll *poll, int events);
  /// The same, by the set of this thread or by libuv, for a poll that µSockets has started. Unlike
  /// us_poll_change it compares with all that the poll waits for: µSockets does not know UV_DISCONNECT.
  static int change(SocketPoll *poll, int events);
  /// The poll waits for nothing any more, and its memory may be freed at the end of the iteration.
  void stop(SocketPoll *poll);
  /// µSockets is about to free a stopped poll. True: the set does so itself, and what µSockets has for the
  /// socket too. That is where a handler of JavaScript runs the loop (by another addon) between two sockets:
  /// those behind it, of which the kernel has told, may be closed and freed in that run.
  bool frees(SocketPoll *poll);

 private:
  void take_turn(void *, std::uint32_t) override;

  /// Null before `count_in`. A member, since what belongs to the thread is slower to find.
  Turns *turns_ = nullptr;

#ifdef __linux__
  SocketSet(uv_loop_t *loop, int descriptor);
  int wait(std::span<epoll_event> ready, Waiting waiting);
  /// See SocketWait::Look.
  Readiness dispatch(Waiting waiting);
  Readiness dispatch_ready(Waiting waiting);
  void dispatch(SocketPoll *poll, std::uint32_t seen);
  /// Returns how many bytes were read.
  std::size_t read_or_write(SocketPoll *poll, std::uint32_t seen);
  /// Where the kernel tells but once of what the socket has: it does again, in the next look at the set.
  void show_again(SocketPoll *poll);
  /// The kernel has refused to poll for it: it is closed in the next turn, unless it is polled for by then.
  void refuse(SocketPoll *poll);
  void close_refused();
  void rest(SocketPoll *poll);
  void go_on(SocketPoll *poll);
  int poll_for(SocketPoll *poll, int before, int events);
  /// Whether the kernel tells but once of input (EPOLLET) while the poll waits for these events: again when
  /// there is more, or when it is asked to. It then need not look at each socket a second time, to see that
  /// it has been read. For TCP alone: a read of another socket may end early, with nothing that shows it, as
  /// one of a unix socket does behind a descriptor that was sent along.
  static bool is_shown_once(const SocketPoll *poll, int events);
  int control(SocketPoll *poll, int operation, int events);

  uv_loop_t *loop_ = nullptr;
  int descriptor_ = -1;
  std::unique_ptr<SocketWait> wait_;
  /// Polls that wait for something.
  unsigned active_ = 0;
  /// Polls that rest, by numbers that are not used again soon. None of them has been stopped.
  std::unordered_map<std::uint32_t, SocketPoll *> resting_;
  /// Their numbers, and those of polls that were stopped meanwhile, in the order of their turns.
  std::deque<std::uint32_t> queue_;
  std::uint32_t last_number_ = 0;
  /// None of them has been stopped.
  std::unordered_set<SocketPoll *> refused_;
  /// Counts calls of `dispatch`.
  std::uint32_t round_ = 0;
  /// How many of them have not returned.
  unsigned dispatching_ = 0;
  /// Freed when the first of those returns.
  std::vector<SocketPoll *> kept_;
  /// The last of them has left ready sockets for the next one.
  bool is_behind_ = false;
#else
  SocketSet() = default;
#endif
};

}  // namespace nws
