// Long because what epoll knows of a socket, and the turns that the set gives it, are one state.
#include "server/uws/socket_set.h"

#include <libusockets.h>

#include <utility>

#include "server/uws/socket_dispatch.h"

#ifdef __linux__
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <span>
#endif

namespace nws {

namespace {
thread_local SocketSet *current_set = nullptr;
}  // namespace

SocketSet *SocketSet::current() { return current_set; }

#ifdef __linux__

std::unique_ptr<SocketSet> SocketSet::create(uv_loop_t *loop) {
  int descriptor = epoll_create1(EPOLL_CLOEXEC);
  if (descriptor < 0) {
    return nullptr;
  }
  std::unique_ptr<SocketSet> set(new SocketSet(loop, descriptor));
  return set->wait_ ? std::move(set) : nullptr;
}

SocketSet::SocketSet(uv_loop_t *loop, int descriptor)
    : loop_(loop),
      descriptor_(descriptor),
      wait_(SocketWait::create(loop, descriptor, [this](Waiting waiting) { return dispatch(waiting); })) {
  current_set = this;
}

SocketSet::~SocketSet() {
  current_set = nullptr;
  wait_.reset();
  close(descriptor_);
}

void SocketSet::wait_in_set(std::function<void()> end_turn) { wait_->wait_in_set(std::move(end_turn)); }

namespace {

/// Bytes of one read, from which on a socket rests where nothing of them was counted.
constexpr std::size_t much = LIBUS_RECV_BUFFER_LENGTH / 2;

/// Sockets, of which each may be read for as much as the buffer holds in one turn.
constexpr std::size_t most_at_once = Turns::max_total_read / LIBUS_RECV_BUFFER_LENGTH;

/// µSockets' poll is the first member of its socket.
us_socket_t *socket_of(const SocketPoll *poll) { return static_cast<us_socket_t *>(poll->data); }
int keeping_alive(int events) { return events & ~SocketSet::reset_only; }
int wanted(const SocketPoll *poll) { return static_cast<int>(poll->events); }
/// What the poll waits for at the moment, of these events.
int interest(const SocketPoll *poll, int events) { return poll->resting_number ? events & ~UV_READABLE : events; }

}  // namespace

void SocketSet::begin(SocketPoll *poll) {
  int domain = AF_UNSPEC;
  socklen_t length = sizeof domain;
  poll->is_tcp =
      getsockopt(poll->descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && (domain == AF_INET || domain == AF_INET6);
}

int SocketSet::watch(SocketPoll *poll, int events) {
  int before = wanted(poll);
  if (events == before) {
    return 0;
  }
  if (int error = poll_for(poll, interest(poll, before), interest(poll, events))) {
    refuse(poll);
    return error;
  }
  if (!refused_.empty()) {
    refused_.erase(poll);
  }
  poll->events = static_cast<unsigned>(events);
  bool kept_alive = keeping_alive(before) != 0, keeps_alive = keeping_alive(events) != 0;
  if (keeps_alive && !kept_alive && active_++ == 0) {
    wait_->keep_alive(true);
  } else if (kept_alive && !keeps_alive && --active_ == 0) {
    wait_->keep_alive(false);
  }
  return 0;
}

void SocketSet::stop(SocketPoll *poll) {
  watch(poll, 0);
  if (!refused_.empty()) {
    refused_.erase(poll);
  }
  if (poll->resting_number) {
    resting_.erase(std::exchange(poll->resting_number, 0));
  }
}

int SocketSet::poll_for(SocketPoll *poll, int before, int events) {
  if (events == before) {
    return 0;
  }
  // An error or a hang-up is reported to whatever is in the set, also where no event is asked for.
  return control(poll, before == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, events);
}

int SocketSet::control(SocketPoll *poll, int operation, int events) {
  epoll_event wanted{};
  if (is_shown_once(poll, events)) {
    wanted.events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET;
  } else {
    wanted.events = (events & UV_READABLE ? EPOLLIN : 0u) | (events & UV_WRITABLE ? EPOLLOUT : 0u) |
                    (events & UV_DISCONNECT ? EPOLLRDHUP : 0u);
  }
  wanted.data.ptr = poll;
  return epoll_ctl(descriptor_, operation, poll->descriptor, &wanted) && events != 0 ? -errno : 0;
}

void SocketSet::refuse(SocketPoll *poll) {
  if (!turns_) {
    return;
  }
  // Not at once: µSockets may be making the socket.
  if (queue_.empty() && refused_.empty()) {
    turns_->wait({this, nullptr, 0}, true);
  }
  refused_.insert(poll);
}

void SocketSet::close_refused() {
  while (!refused_.empty()) {
    SocketPoll *poll = *refused_.begin();
    refused_.erase(refused_.begin());
    dispatch_socket(socket_of(poll), UV_ENOSPC, 0, turns_);
  }
}

void SocketSet::rest(SocketPoll *poll) {
  int events = wanted(poll);
  if (poll_for(poll, events, events & ~UV_READABLE)) {
    return;
  }
  std::uint32_t number = ++last_number_ ? last_number_ : ++last_number_;
  resting_.insert_or_assign(number, poll);
  poll->resting_number = number;
  if (queue_.empty() && refused_.empty()) {
    turns_->wait({this, nullptr, 0}, true);
  }
  queue_.push_back(number);
}

void SocketSet::take_turn(void *, std::uint32_t) {
  close_refused();
  // Half of what is read in a turn, so that there is room for sockets that newly have input; and where those
  // take more, one, for they may come for ever.
  for (std::size_t left = is_behind_ ? 1 : most_at_once / 2; left > 0 && !queue_.empty();) {
    auto found = resting_.find(queue_.front());
    queue_.pop_front();
    if (found != resting_.end()) {
      SocketPoll *poll = found->second;
      resting_.erase(found);
      go_on(poll);
      left--;
    }
  }
  if (!queue_.empty() || !refused_.empty()) {
    turns_->wait({this, nullptr, 0}, true);
  }
}

void SocketSet::go_on(SocketPoll *poll) {
  poll->resting_number = 0;
  int events = wanted(poll);
  if (int error = poll_for(poll, events & ~UV_READABLE, events)) {
    dispatch_socket(socket_of(poll), error, 0, turns_);
  }
}

[[gnu::hot]] int SocketSet::wait(std::span<epoll_event> ready, Waiting waiting) {
  if (waiting.timeout != 0) {
    waiting.idle->begin_waiting(waiting.since);
  }
  int count = epoll_wait(descriptor_, ready.data(), static_cast<int>(ready.size()), waiting.timeout);
  std::uint64_t now = uv_hrtime();
  if (waiting.timeout != 0) {
    waiting.idle->end_waiting(now);
    if (uv_now(loop_) != now / 1'000'000) {
      uv_update_time(loop_);
    }
  }
  if (turns_) {
    turns_->begin_reading(now);
  }
  return count;
}

bool SocketSet::frees(SocketPoll *poll) {
  if (dispatching_ == 0) {
    return false;
  }
  kept_.push_back(poll);
  return true;
}

[[gnu::hot]] Readiness SocketSet::dispatch(Waiting waiting) {
  dispatching_++;
  Readiness found = dispatch_ready(waiting);
  if (--dispatching_ == 0 && !kept_.empty()) {
    for (SocketPoll *poll : std::exchange(kept_, {})) {
      std::free(poll->data);
      std::free(poll);
    }
  }
  return found;
}

[[gnu::hot]] Readiness SocketSet::dispatch_ready(Waiting waiting) {
  // In all as many as µSockets asks for. Those beyond keep the set readable, and come in the next iteration.
  constexpr std::size_t most = 1024;
  std::array<epoll_event, most_at_once> ready;
  Readiness found;
  round_++;
  bool has_come_round = false;
  for (std::size_t total = 0; total < most && !has_come_round;) {
    // The kernel puts a socket that stays ready behind all others when it has told of it. So it is asked for
    // no more than may be read: each of those is dealt with, and the next time the sockets behind them come.
    std::size_t at_once = turns_ ? turns_->reads_left(LIBUS_RECV_BUFFER_LENGTH) : most_at_once;
    is_behind_ = at_once == 0;
    if (is_behind_) {
      return found;
    }
    int count = wait(std::span(ready).first(at_once), std::exchange(waiting, {}));
    for (int i = 0; i < count; i++) {
      // µSockets frees a poll at the end of an iteration: one that was stopped by another's callback is still
      // there (see `frees`).
      auto &[seen, data] = ready[static_cast<std::size_t>(i)];
      auto *poll = static_cast<SocketPoll *>(data.ptr);
      if (!poll) {
        found.libuv = true;  // or the timer, for libuv's sake
        continue;
      }
      found.sockets = true;
      if (std::exchange(poll->last_round, round_) == round_) {
        has_come_round = true;
        show_again(poll);
        continue;
      }
      if (wanted(poll) != 0) {
        dispatch(poll, seen);
        if (turns_) {
          turns_->hand_over_if_due();
        }
      }
    }
    if (count < static_cast<int>(at_once)) {
      return found;
    }
    total += at_once;
  }
  return found;
}

[[gnu::hot]] void SocketSet::dispatch(SocketPoll *poll, std::uint32_t seen) {
  if (seen == EPOLLPRI) {
    return;  // urgent data (RFC 6093), which is not read, and nothing behind it yet
  }
  std::size_t read = read_or_write(poll, seen & ~std::uint32_t{EPOLLPRI});
  // Less than the buffer holds is all that there was. No end of it or error behind it has been seen, and no
  // urgent data, at which a read ends.
  bool is_drained = seen == EPOLLIN && read > 0 && read < LIBUS_RECV_BUFFER_LENGTH;
  if (!is_drained) {
    show_again(poll);
  }
}

bool SocketSet::is_shown_once(const SocketPoll *poll, int events) { return events == UV_READABLE && poll->is_tcp; }

void SocketSet::show_again(SocketPoll *poll) {
  int events = interest(poll, wanted(poll));
  if (!is_shown_once(poll, events)) {
    return;
  }
  if (int error = control(poll, EPOLL_CTL_MOD, events)) {
    dispatch_socket(socket_of(poll), error, 0, turns_);
  }
}

[[gnu::hot]] std::size_t SocketSet::read_or_write(SocketPoll *poll, std::uint32_t seen) {
  if ((wanted(poll) & reset_only) && (seen & (EPOLLERR | EPOLLHUP))) {
    return dispatch_socket(socket_of(poll), 0, UV_DISCONNECT, turns_);
  }
  if (seen & EPOLLERR) {
    // What came before the error can still be read, and then the error is.
    return dispatch_socket(socket_of(poll), wanted(poll) & UV_READABLE ? 0 : UV_EBADF, UV_READABLE, turns_);
  }
  int events = (seen & EPOLLIN ? UV_READABLE : 0) | (seen & EPOLLOUT ? UV_WRITABLE : 0) | (seen & EPOLLRDHUP ? UV_DISCONNECT : 0);
  if (seen == EPOLLHUP) {
    events = wanted(poll);  // the next read or write fails
  }
  if ((events & wanted(poll)) == 0) {
    return 0;
  }
  std::size_t budget = turns_ ? turns_->work_left() : 0;
  std::size_t read = dispatch_socket(socket_of(poll), 0, events & wanted(poll), turns_);
  if (read >= much && turns_ && turns_->work_left() == budget && (wanted(poll) & UV_READABLE)) {
    rest(poll);
  }
  return read;
}

#else

std::unique_ptr<SocketSet> SocketSet::create(uv_loop_t *) { return nullptr; }
SocketSet::~SocketSet() = default;
void SocketSet::wait_in_set(std::function<void()>) {}
void SocketSet::begin(SocketPoll *) {}
int SocketSet::watch(SocketPoll *, int) { return 0; }
void SocketSet::stop(SocketPoll *) {}
bool SocketSet::frees(SocketPoll *) { return false; }
void SocketSet::take_turn(void *, std::uint32_t) {}

#endif

}  // namespace nws
