#include "server/uws/wait_timer.h"

#ifdef __linux__

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace nws {

WaitTimer::WaitTimer(int set) : descriptor_(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
  epoll_event wanted{};
  wanted.events = EPOLLIN | EPOLLET;  // shows once, and need not be read
  if (descriptor_ >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, descriptor_, &wanted) != 0) {
    close(descriptor_);
    descriptor_ = -1;
  }
}

WaitTimer::~WaitTimer() {
  if (descriptor_ >= 0) {
    close(descriptor_);
  }
}

[[gnu::hot]] bool WaitTimer::start(std::int64_t due, std::uint64_t at) {
  if (descriptor_ < 0) {
    return false;
  }
  if (due == due_) {
    return true;
  }
  itimerspec time{};
  time.it_value.tv_sec = static_cast<time_t>(at / 1'000'000'000);
  time.it_value.tv_nsec = static_cast<long>(at % 1'000'000'000);
  if (timerfd_settime(descriptor_, TFD_TIMER_ABSTIME, &time, nullptr) != 0) {
    return false;
  }
  due_ = due;
  return true;
}

}  // namespace nws

#endif
