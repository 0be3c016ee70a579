#include "server/uws/timeouts.h"

#include <uv.h>

#include <algorithm>

#include "server/uws/upstream_internals.h"  // µSockets' clock: no public function tells of it

namespace nws {

namespace {

/// The timer of a loop's ticks. It stands behind the head of its memory (eventing/libuv.c, us_create_timer).
const uv_timer_t *timer_of(const us_loop_t *loop) {
  auto *head = reinterpret_cast<const us_internal_callback_t *>(loop->data.sweep_timer);
  return reinterpret_cast<const uv_timer_t *>(head + 1);
}

/// Milliseconds until a context's next tick, at the most. libuv's own idea of now may be as old as this
/// iteration of the loop.
std::int64_t until_next_tick(us_socket_context_t *context) {
  const us_loop_t *loop = context->loop;
  if (loop->data.iterator == context) {
    return Timeouts::tick;  // this tick is being dealt with
  }
  if (loop->data.iterator) {
    return 0;  // the tick may not have come to this context yet
  }
  const uv_timer_t *timer = timer_of(loop);
  auto due = static_cast<std::int64_t>(uv_now(timer->loop) + uv_timer_get_due_in(timer));
  constexpr std::uint64_t nanoseconds = 1'000'000;
  return std::min(due - static_cast<std::int64_t>(uv_hrtime() / nanoseconds) - 1, Timeouts::tick);
}

}  // namespace

[[gnu::hot]] void Timeouts::set(int, us_socket_t *socket, unsigned seconds) {
  constexpr unsigned char none = 255;
  constexpr unsigned modulus = 240;
  if (seconds == 0) {
    socket->timeout = none;
    return;
  }
  us_socket_context_t *context = socket->context;
  // For a whole number of ticks it makes no difference when the next one comes, but while one is dealt with.
  // This runs for every message, and a look at the clock is not free.
  bool is_clock_needed = seconds % LIBUS_TIMEOUT_GRANULARITY != 0 || context->loop->data.iterator == context;
  unsigned count = ticks(std::min(std::int64_t{seconds} * 1000, longest), is_clock_needed ? until_next_tick(context) : 0);
  socket->timeout = static_cast<unsigned char>((context->timestamp + count) % modulus);
}

}  // namespace nws
