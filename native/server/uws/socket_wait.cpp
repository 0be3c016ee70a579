#include "server/uws/socket_wait.h"

#ifdef __linux__

#include <sys/epoll.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace nws {

namespace {

/// Milliseconds after which libuv gets a turn when JavaScript has run. Such a turn costs as much as a message
/// or two, where the thread has slept: at 10 ms it was a tenth of what 1,000 messages a second cost.
constexpr std::int64_t longest_behind = 100;
constexpr std::uint64_t nanoseconds = 1'000'000;

/// Handles of libuv's phases that may be active while the thread waits in the set: those of SocketWait,
/// µSockets and Environment, and of Node, which prepares and checks for its own idle time, and checks for
/// immediates.
constexpr int known_prepare_handles = 4;
constexpr int known_check_handles = 5;

/// A queue of libuv's is a ring of pairs of pointers, next and previous (uv.h).
template <typename Queue>
bool has_more_than(const Queue &queue, int count) {
  static_assert(sizeof queue == 2 * sizeof(void *));
  const void *head = &queue;
  const void *next = *static_cast<const void *const *>(head);
  while (next != head && count-- > 0) {
    next = *static_cast<const void *const *>(next);
  }
  return next != head;
}

template <typename Handle>
uv_handle_t *as_handle(Handle &handle) {
  return reinterpret_cast<uv_handle_t *>(&handle);
}

}  // namespace

struct SocketWait::Handles {
  /// Waits for the set, where the thread waits in libuv.
  uv_poll_t set{};
  /// Keeps the loop alive, and is where the thread waits in the set.
  uv_prepare_t prepare{};
  /// Looks for prepare handles of others: in the prepare phase itself, those that have not run yet are in no
  /// queue that can be found.
  uv_check_t check{};
  /// Active in libuv's turns while the thread waits in the set: libuv does not wait then.
  uv_idle_t no_wait{};
};

std::unique_ptr<SocketWait> SocketWait::create(uv_loop_t *loop, int set, Look look) {
  auto handles = std::make_unique<Handles>();
  if (uv_poll_init(loop, &handles->set, set)) {
    return nullptr;
  }
  return std::unique_ptr<SocketWait>(new SocketWait(std::move(handles), set, std::move(look)));
}

SocketWait::SocketWait(std::unique_ptr<Handles> handles, int set, Look look)
    : handles_(handles.release()), loop_(handles_->set.loop), set_(set), look_(std::move(look)), idle_(loop_), timer_(set) {
  uv_prepare_init(loop_, &handles_->prepare);
  uv_check_init(loop_, &handles_->check);
  uv_idle_init(loop_, &handles_->no_wait);
  handles_->set.data = handles_->prepare.data = handles_->check.data = this;
  wait_in_libuv();
  uv_prepare_start(&handles_->prepare, [](uv_prepare_t *prepare) { static_cast<SocketWait *>(prepare->data)->prepare(); });
  uv_check_start(&handles_->check, [](uv_check_t *check) {
    auto *wait = static_cast<SocketWait *>(check->data);
    wait->is_alone_ = !has_more_than(wait->loop_->prepare_handles, known_prepare_handles);
  });
  uv_unref(as_handle(handles_->set));
  uv_unref(as_handle(handles_->check));
  uv_unref(as_handle(handles_->prepare));
  uv_unref(as_handle(handles_->no_wait));
}

SocketWait::~SocketWait() {
  if (in_set_) {
    epoll_ctl(set_, EPOLL_CTL_DEL, uv_backend_fd(loop_), nullptr);
  }
  // libuv calls the callback of the handle that was closed first behind those of the others.
  handles_->set.data = handles_;
  uv_close(as_handle(handles_->set), [](uv_handle_t *set) { delete static_cast<Handles *>(set->data); });
  uv_close(as_handle(handles_->prepare), nullptr);
  uv_close(as_handle(handles_->check), nullptr);
  uv_close(as_handle(handles_->no_wait), nullptr);
}

void SocketWait::keep_alive(bool keeps) {
  if (keeps) {
    uv_ref(as_handle(handles_->prepare));
  } else {
    uv_unref(as_handle(handles_->prepare));
  }
}

void SocketWait::wait_in_set(std::function<void()> end_turn) { end_turn_ = std::move(end_turn); }

void SocketWait::prepare() {
  uv_idle_stop(&handles_->no_wait);
  if (end_turn_ && waits_in_set()) {
    wait();
    uv_idle_start(&handles_->no_wait, [](uv_idle_t *) {});
  }
}

/// The stack grows downwards wherever this is built for. Node runs the loop from one place, from which each
/// call of this has the same frame; one that is below it was begun by a callback.
bool SocketWait::is_nested() {
  auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  outermost_ = std::max(outermost_, here);
  return here < outermost_;
}

bool SocketWait::waits_in_set() {
  bool may = !is_nested() && idle_.is_known() && is_alone_ && !has_more_than(loop_->check_handles, known_check_handles);
  if (may == in_set_) {
    return may;
  }
  // Of the two descriptors one can be in the other: the kernel refuses rings.
  if (may) {
    uv_poll_stop(&handles_->set);
    epoll_event wanted{};
    wanted.events = EPOLLIN;  // with no data, which tells it from sockets
    may = epoll_ctl(set_, EPOLL_CTL_ADD, uv_backend_fd(loop_), &wanted) == 0;
  } else {
    epoll_ctl(set_, EPOLL_CTL_DEL, uv_backend_fd(loop_), nullptr);
  }
  in_set_ = may;
  if (!in_set_) {
    wait_in_libuv();
  }
  return in_set_;
}

void SocketWait::wait_in_libuv() {
  uv_poll_start(&handles_->set, UV_READABLE, [](uv_poll_t *set, int, int) { static_cast<SocketWait *>(set->data)->look_({}); });
}

[[gnu::hot]] void SocketWait::wait() {
  bool javascript_has_run = false;
  // Milliseconds, of uv_hrtime: when libuv must have a turn.
  std::int64_t turn_due = 0;
  while (true) {
    std::int64_t timeout = uv_backend_timeout(loop_);
    std::uint64_t since = uv_hrtime();
    auto now = static_cast<std::int64_t>(since / nanoseconds);
    if (timeout > 0) {
      // libuv counts from its own idea of now, which may be some milliseconds old, or of a coarser clock.
      timeout -= now - static_cast<std::int64_t>(uv_now(loop_));
      if (timeout <= 0) {
        uv_update_time(loop_);
        timeout = uv_backend_timeout(loop_);
      }
    }
    if (javascript_has_run) {
      turn_due = turn_due ? turn_due : now + longest_behind;
      std::int64_t left = std::max<std::int64_t>(turn_due - now, 0);
      timeout = timeout < 0 ? left : std::min(timeout, left);
      if (timeout == 0) {
        return;
      }
    }
    // From this moment, as a timeout would count: at the beginning of the millisecond in which it is due, a
    // timer of Node's would mostly be early.
    bool ends_by_timer = timeout > 0 && timer_.start(now + timeout, since + static_cast<std::uint64_t>(timeout) * nanoseconds);
    Readiness ready = look_({ends_by_timer ? -1 : static_cast<int>(timeout), &idle_, since});
    // libuv's turn ends with what `end_turn_` does.
    if (!ready.sockets || ready.libuv || timeout == 0) {
      return;
    }
    end_turn_();
    if (!uv_has_ref(as_handle(handles_->prepare))) {
      return;  // no socket is left, and perhaps nothing else that the loop waits for
    }
    if (!in_set_) {
      return;  // JavaScript has had the loop run: libuv's descriptor is not in the set any more
    }
    javascript_has_run = true;
  }
}

}  // namespace nws

#endif
