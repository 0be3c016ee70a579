#include "server/http/request_deadlines.h"

#include <utility>

namespace nws {

namespace {

/// Connections ended in one turn. Each is a response and a close, some 10 µs.
constexpr int max_expired = 256;

}  // namespace

void RequestDeadlines::Place::take(RequestDeadlines &deadlines, void *socket) {
  if (deadlines_ || deadlines.allowed_ == std::chrono::milliseconds::zero()) {
    return;
  }
  deadlines_ = &deadlines;
  at_ = deadlines.waiting_.insert(deadlines.waiting_.end(), {socket, this, Clock::now() + deadlines.allowed_});
  if (!deadlines.is_watching_) {
    deadlines.watch();
  }
}

void RequestDeadlines::Place::leave() {
  if (deadlines_) {
    std::exchange(deadlines_, nullptr)->waiting_.erase(at_);
  }
}

RequestDeadlines::RequestDeadlines(uv_loop_t *loop, std::chrono::milliseconds allowed, std::function<void(void *socket)> expired)
    : allowed_(allowed), expired_(std::move(expired)), timer_(loop) {}

void RequestDeadlines::watch() {
  is_watching_ = true;
  auto left = std::chrono::ceil<std::chrono::milliseconds>(waiting_.front().deadline - Clock::now()).count();
  // A timer of 0 that is started by its own callback would run in the same turn.
  std::uint64_t delay = left > 1 ? static_cast<std::uint64_t>(left) : 1;
  timer_.start<&RequestDeadlines::look>(this, delay);
}

void RequestDeadlines::look() {
  Time now = Clock::now();
  for (int ended = 0; !waiting_.empty() && waiting_.front().deadline <= now && ended < max_expired; ended++) {
    void *socket = waiting_.front().socket;
    waiting_.front().place->leave();
    expired_(socket);
  }
  is_watching_ = false;
  if (!waiting_.empty()) {
    watch();
  }
}

}  // namespace nws
