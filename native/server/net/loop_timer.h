// A timer of the event loop.
#pragma once

#include <uv.h>

#include <cstdint>
#include <memory>

namespace nws {

/// Calls its owner once for each start. Does not keep the process alive. Nothing is called once it is
/// destroyed; libuv frees the handle's memory later, by a callback.
class LoopTimer {
 public:
  explicit LoopTimer(uv_loop_t *loop) : loop_(loop) {}

  /// Calls `owner->*call` after so many milliseconds, in place of a call that is due.
  template <auto call, typename Owner>
  void start(Owner *owner, std::uint64_t delay) {
    if (!timer_) {
      timer_.reset(new uv_timer_t);
      uv_timer_init(loop_, timer_.get());  // documented to succeed always
      uv_unref(reinterpret_cast<uv_handle_t *>(timer_.get()));
    }
    timer_->data = owner;
    uv_timer_start(
        timer_.get(), [](uv_timer_t *timer) { (static_cast<Owner *>(timer->data)->*call)(); }, delay, 0);
  }

 private:
  struct Closer {
    void operator()(uv_timer_t *timer) const {
      uv_close(reinterpret_cast<uv_handle_t *>(timer),
               [](uv_handle_t *handle) { delete reinterpret_cast<uv_timer_t *>(handle); });
    }
  };

  uv_loop_t *loop_;
  std::unique_ptr<uv_timer_t, Closer> timer_;
};

}  // namespace nws
