// Where the thread waits, on a loop of its own. libuv's library may be older than the header here: up to
// 1.44, such as Debian 12's, a loop has its idle time elsewhere, and the thread waits in the set only because
// this loop counts none. What is added to idle time is tested under Node.js (test/core/event-loop.test.ts).
#ifdef __linux__
#include "server/uws/socket_wait.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <functional>
#include <list>
#include <memory>
#include <utility>

#include "harness.h"

namespace {

using nws::Readiness;
using nws::SocketWait;
using nws::Waiting;

template <typename Handle>
uv_handle_t *as_handle(Handle &handle) {
  return reinterpret_cast<uv_handle_t *>(&handle);
}

/// A loop with a set, in which there is one descriptor in place of sockets, and counts of what happens.
class Thread {
 public:
  /// A pass that never sees more than this ends its test: what it waits for does not come.
  static constexpr int most_looks = 100'000;

  Thread() : set_(epoll_create1(EPOLL_CLOEXEC)), socket_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    uv_loop_init(&loop);
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    wanted.data.ptr = this;
    CHECK(epoll_ctl(set_, EPOLL_CTL_ADD, socket_, &wanted) == 0);
    wait_ = SocketWait::create(&loop, set_, [this](Waiting waiting) { return look(waiting); });
    CHECK(wait_ != nullptr);
    uv_check_init(&loop, &turns_);
    turns_.data = this;
    uv_check_start(&turns_, [](uv_check_t *check) { static_cast<Thread *>(check->data)->turns++; });
    uv_unref(as_handle(turns_));
    uv_timer_init(&loop, &timer_);
    timer_.data = this;
    wait_->keep_alive(true);
    wait_->wait_in_set([this] { ended_turns++; });
  }
  ~Thread() {
    wait_.reset();
    uv_close(as_handle(turns_), nullptr);
    uv_close(as_handle(timer_), nullptr);
    for (auto &handle : others_) {
      uv_close(as_handle(handle), nullptr);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) != 0) {
      std::abort();
    }
    close(socket_);
    close(set_);
  }
  Thread(const Thread &) = delete;
  Thread &operator=(const Thread &) = delete;

  /// The socket has something to read from now on, until `be_quiet`.
  void be_ready() { CHECK(eventfd_write(socket_, 1) == 0); }
  void be_quiet() {
    eventfd_t value = 0;
    eventfd_read(socket_, &value);
  }
  /// Runs until `stop`, or until nothing keeps the loop alive.
  void run() {
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(looks < most_looks);
  }
  void stop() {
    wait_->keep_alive(false);
    be_quiet();
    uv_timer_stop(&timer_);
  }
  void start_timer(std::uint64_t milliseconds, std::function<void()> then) {
    then_ = std::move(then);
    uv_timer_start(
        &timer_, [](uv_timer_t *timer) { static_cast<Thread *>(timer->data)->then_(); }, milliseconds, 0);
  }
  void add_prepare_handles(int count) {
    for (int i = 0; i < count; i++) {
      uv_prepare_t &handle = others_.emplace_back();
      uv_prepare_init(&loop, &handle);
      handle.data = this;
      uv_prepare_start(&handle, [](uv_prepare_t *prepare) { static_cast<Thread *>(prepare->data)->prepared++; });
      uv_unref(as_handle(handle));
    }
  }

  uv_loop_t loop{};
  /// libuv's iterations, turns in the set, looks into it, calls of other prepare handles.
  int turns = 0, ended_turns = 0, looks = 0, prepared = 0;
  /// Looks that were to wait though libuv had something, which does not show in the set.
  int blind_waits = 0;
  std::function<void()> on_socket = [] {};

 private:
  Readiness look(Waiting waiting) {
    if (++looks == most_looks) {
      stop();
    }
    std::array<epoll_event, 4> seen;
    pollfd libuv{uv_backend_fd(&loop), POLLIN, 0};
    if (waiting.timeout != 0 && poll(&libuv, 1, 0) == 1) {
      blind_waits += epoll_wait(set_, seen.data(), static_cast<int>(seen.size()), 0) == 0;
    }
    if (waiting.timeout != 0) {
      waiting.idle->begin_waiting(waiting.since);
    }
    int count = epoll_wait(set_, seen.data(), static_cast<int>(seen.size()), waiting.timeout);
    if (waiting.timeout != 0) {
      waiting.idle->end_waiting(uv_hrtime());
    }
    Readiness found;
    for (int i = 0; i < count; i++) {
      if (seen[static_cast<std::size_t>(i)].data.ptr == this) {
        found.sockets = true;
        on_socket();
      } else {
        found.libuv = true;
      }
    }
    return found;
  }

  int set_;
  int socket_;
  std::unique_ptr<SocketWait> wait_;
  uv_check_t turns_{};
  uv_timer_t timer_{};
  std::function<void()> then_;
  std::list<uv_prepare_t> others_;
};

TEST("libuv has no turn while sockets alone have something to say") {
  Thread thread;
  thread.be_ready();
  int seen = 0;
  thread.on_socket = [&] {
    if (++seen == 1000) {
      thread.stop();
    }
  };
  thread.run();
  CHECK(seen == 1000);
  CHECK(thread.ended_turns >= 990);
  CHECK(thread.turns <= 10);
}

TEST("a timer that is due comes before the socket is looked at twice more, however busy it is") {
  Thread thread;
  thread.be_ready();
  std::uint64_t due = 0;
  int late = 0;
  int fired = 0;
  thread.on_socket = [&] { late += uv_hrtime() >= due; };
  std::function<void()> start = [&] {
    late = 0;
    due = uv_hrtime() + 6'000'000;  // libuv counts in whole milliseconds
    thread.start_timer(5, [&] {
      CHECK(late <= 3);
      if (++fired == 5) {
        thread.stop();
      } else {
        start();
      }
    });
  };
  start();
  thread.run();
  CHECK(fired == 5);
}

TEST("a timer ends the wait when no socket has anything") {
  Thread thread;
  int fired = 0;
  std::function<void()> again = [&] { ++fired == 3 ? thread.stop() : thread.start_timer(5, again); };
  thread.start_timer(5, again);
  thread.run();
  CHECK(fired == 3);
}

TEST("what another thread sends, and what closes, has its turn behind the next look at most") {
  Thread thread;
  thread.be_ready();
  struct Sent {
    Thread *thread;
    int looks = 0;
    bool came = false, closed = false;
    uv_async_t async{};
  } sent{&thread};
  uv_async_init(&thread.loop, &sent.async, [](uv_async_t *async) {
    auto *self = static_cast<Sent *>(async->data);
    self->came = self->thread->looks - self->looks <= 2;
    self->looks = self->thread->looks;
    uv_close(as_handle(*async), [](uv_handle_t *handle) {
      auto *closing = static_cast<Sent *>(handle->data);
      closing->closed = closing->thread->looks - closing->looks <= 2;
      closing->thread->stop();
    });
  });
  sent.async.data = &sent;
  uv_unref(as_handle(sent.async));
  thread.on_socket = [&, is_sent = false]() mutable {
    if (thread.looks >= 50 && !std::exchange(is_sent, true)) {
      sent.looks = thread.looks;
      uv_async_send(&sent.async);
    }
  };
  thread.run();
  CHECK(sent.came);
  CHECK(sent.closed);
}

TEST("the thread waits in libuv, so that they run in each iteration, where others have prepare handles") {
  Thread thread;
  thread.add_prepare_handles(5);
  thread.be_ready();
  int seen = 0;
  thread.on_socket = [&] {
    if (++seen == 100) {
      thread.stop();
    }
  };
  thread.run();
  CHECK(seen == 100);
  CHECK(thread.turns >= 95);
  CHECK(thread.prepared >= 5 * 95);
}

TEST("a run of the loop inside of one of its callbacks does not wait in the set") {
  Thread thread;
  thread.be_ready();
  int inner = 0;
  thread.on_socket = [&] {
    if (thread.looks == 20) {
      thread.be_quiet();  // in the set, a run would now wait for ever
    }
  };
  thread.start_timer(5, [&] {
    for (; inner < 3; inner++) {
      uv_run(&thread.loop, UV_RUN_NOWAIT);
    }
    thread.stop();
  });
  thread.run();
  CHECK(inner == 3);
}

TEST("libuv has its turn at once behind a socket whose handler has run the loop") {
  Thread thread;
  thread.be_ready();
  uv_async_t async;
  uv_async_init(&thread.loop, &async, [](uv_async_t *sent) {
    static_cast<Thread *>(sent->data)->stop();
    uv_close(as_handle(*sent), nullptr);
  });
  async.data = &thread;
  thread.on_socket = [&, seen = 0]() mutable {
    if (++seen == 50) {
      uv_run(&thread.loop, UV_RUN_NOWAIT);
      thread.be_quiet();
      uv_async_send(&async);
    }
  };
  thread.run();
  CHECK(thread.blind_waits == 0);
}

TEST("a loop ends when neither sockets nor anything else keep it alive") {
  Thread thread;
  thread.stop();
  thread.run();
  CHECK(thread.looks <= 1);
}

}  // namespace
#endif
