#include "server/net/loop_idle_time.h"

#include <utility>

namespace nws {

/// uv__loop_internal_fields_s, as far as it is used here.
struct LoopIdleTime::Fields {
  unsigned flags;
  uv_metrics_t metrics;
  /// When libuv began to wait, by uv_hrtime; 0 while it does not.
  std::uint64_t entry_time;
  std::uint64_t idle_time;
  uv_mutex_t lock;
};

namespace {

/// 1.39.0, the first that counts idle time, and has `flags` where it is.
constexpr unsigned first_with_flags = 1 << 16 | 39 << 8;
/// 1.45.0, the first with these structures.
constexpr unsigned oldest_version = 1 << 16 | 45 << 8;
/// The next major release may have anything.
constexpr unsigned next_major_version = 2 << 16;

}  // namespace

bool LoopIdleTime::is_known() {
  if (is_checked_) {
    return true;
  }
  auto *fields = static_cast<Fields *>(loop_->internal_fields);
  if (uv_version() < first_with_flags || uv_version() >= next_major_version || !fields) {
    return false;
  }
  if ((fields->flags & UV_METRICS_IDLE_TIME) == 0) {
    is_checked_ = uv_metrics_idle_time(loop_) == 0;
    return is_checked_;
  }
  if (uv_version() < oldest_version) {
    return false;
  }
  // In nanoseconds: no other number is the same by chance.
  std::uint64_t idle_time = uv_metrics_idle_time(loop_);
  if (idle_time == 0 || fields->entry_time != 0 || fields->idle_time != idle_time) {
    return false;
  }
  fields_ = fields;
  is_checked_ = true;
  return true;
}

void LoopIdleTime::begin_waiting(std::uint64_t now) {
  if (fields_) {
    // Other threads read it under the lock (worker.performance.eventLoopUtilization). Of one word they see
    // the old value or the new one, and both are true at that moment.
    __atomic_store_n(&fields_->entry_time, now, __ATOMIC_RELAXED);  // older libraries have no std::atomic_ref
  }
}

void LoopIdleTime::end_waiting(std::uint64_t now) {
  if (fields_) {
    uv_mutex_lock(&fields_->lock);
    fields_->idle_time += now - std::exchange(fields_->entry_time, 0);
    uv_mutex_unlock(&fields_->lock);
  }
}

}  // namespace nws
