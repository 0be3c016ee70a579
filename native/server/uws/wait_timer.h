// A timer that ends the wait in an epoll set.
//
// Why: for each epoll_wait with a timeout the kernel starts a timer and stops it, in a virtual machine with
// the help of its host; this one goes on from wait to wait. docs/performance-log.md has what that saves.
#pragma once

#ifdef __linux__

#include <cstdint>

namespace nws {

/// Not thread-safe: it belongs to the thread that waits.
class WaitTimer {
 public:
  /// In `set`, where it shows without data. With no descriptor to spare there is no timer.
  explicit WaitTimer(int set);
  ~WaitTimer();
  WaitTimer(const WaitTimer &) = delete;
  WaitTimer &operator=(const WaitTimer &) = delete;

  /// A wait ends `at` this time of uv_hrtime, and no more at one that this was called with before. Does
  /// nothing where `due` is what it was: the same moment in milliseconds, of which the first call has said
  /// when that is. False where there is no timer.
  bool start(std::int64_t due, std::uint64_t at);

 private:
  int descriptor_;
  std::int64_t due_ = 0;
};

}  // namespace nws

#endif
