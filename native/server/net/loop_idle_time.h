// A seam into libuv. What a thread waits outside of libuv's own wait is added to what libuv counts as idle,
// so that uv_metrics_idle_time, and with it Node's performance.eventLoopUtilization, tell the truth.
//
// Why: libuv has no public way to add to it.
//
// The structures are libuv's private ones (uv-common.h, uv__loop_internal_fields_s), which have been the same
// from libuv 1.45 on. They are used only after what they say has been found equal to what libuv's public
// functions say; a libuv that has changed them is recognised by that, and is waited in as always.
#pragma once

#include <uv.h>

#include <cstdint>

namespace nws {

/// Of one loop, on its thread.
class LoopIdleTime {
 public:
  explicit LoopIdleTime(uv_loop_t *loop) : loop_(loop) {}

  /// Whether idle time can be added: libuv's structures are as expected, or libuv counts none. False also
  /// before the loop has waited for the first time, when there is nothing yet to compare.
  bool is_known();

  /// The thread waits from now on. Both times are of uv_hrtime, which the caller has read; and the
  /// LoopIdleTime is known.
  void begin_waiting(std::uint64_t now);
  void end_waiting(std::uint64_t now);

 private:
  struct Fields;

  uv_loop_t *loop_;
  bool is_checked_ = false;
  /// libuv's; null where it counts no idle time.
  Fields *fields_ = nullptr;
};

}  // namespace nws
