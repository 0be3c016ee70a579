// A seam (see upstream.h). In place of us_socket_timeout: µWebSockets calls Timeouts::set, and so does our
// own code.
//
// Why: µSockets counts in ticks of 4 seconds, and strikes up to one tick too early: the first tick may come
// right after the timeout was set (socket.c, us_socket_timeout; loop.c, us_internal_timer_sweep). Here a
// timeout never strikes before the time asked for, and less than a tick after it.
//
// At the next release: the tick is LIBUS_TIMEOUT_GRANULARITY, `timeout` counts modulo 240 with 255 for none,
// and strikes when the context's timestamp is the socket's; timeouts.cpp knows where the timer is.
#pragma once

#include <libusockets.h>

#include <cstdint>

namespace nws {

class Timeouts {
 public:
  /// Milliseconds between two ticks.
  static constexpr std::int64_t tick = LIBUS_TIMEOUT_GRANULARITY * 1000;
  /// Milliseconds. µSockets counts modulo 240 ticks, of which the first may be over at once.
  static constexpr std::int64_t longest = 239 * tick;

  /// The first tick at which so many milliseconds are over: 1 is the next one, which comes in `until_next`
  /// milliseconds, or is overdue.
  static constexpr unsigned ticks(std::int64_t milliseconds, std::int64_t until_next) {
    std::int64_t after_next = milliseconds - (until_next < 0 ? 0 : until_next);
    return 1 + (after_next <= 0 ? 0 : static_cast<unsigned>((after_next + tick - 1) / tick));
  }

  /// Stands in for us_socket_timeout: the context's timeout handler is called once, after `seconds`, unless
  /// this is called again first. 0 is never; at most `longest`.
  static void set(int ssl, us_socket_t *socket, unsigned seconds);
};

}  // namespace nws
