// When a socket's timeout strikes. µSockets counts in ticks of 4 seconds, and by itself it strikes up to one
// tick too early: the first tick may come right after the timeout was set (socket.c, us_socket_timeout;
// loop.c, us_internal_timer_sweep). Here it never strikes before the time asked for, and less than a tick
// after it.
//
// It gets there by taking the place of us_socket_timeout, for this server and for µWebSockets alike. Include
// this before App.h.
#pragma once

#ifdef UWS_APP_H
#error "timeouts.h must be included before App.h"
#endif

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

#define us_socket_timeout nws::Timeouts::set
