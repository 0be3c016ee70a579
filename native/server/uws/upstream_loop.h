// µWebSockets' side of a libuv loop, without its headers.
//
// Why: µSockets frees closed sockets at the end of an iteration; a loop that is taken away before it gets
// there has to do it itself, and so has a thread that has several turns of its own in one of libuv's.
//
// At the next release: loop.c (µSockets) has us_internal_free_closed_sockets, which frees what its name says,
// and counts iterations before the poll phase (us_internal_loop_pre). eventing/libuv.c calls that one in
// libuv's prepare phase and us_internal_loop_post in its check phase.
#pragma once

#include <uv.h>

#include <cstdint>

struct us_loop_t;

namespace nws {

/// Attaches µWebSockets to a libuv loop. See EventLoop. The destructor only asks libuv to close its handles.
class UpstreamLoop {
 public:
  explicit UpstreamLoop(uv_loop_t *loop);
  ~UpstreamLoop();
  UpstreamLoop(const UpstreamLoop &) = delete;
  UpstreamLoop &operator=(const UpstreamLoop &) = delete;

  us_loop_t *sockets() const { return sockets_; }

 private:
  us_loop_t *sockets_;
};

/// What µSockets does behind the poll phase, and before the next one.
void end_turn_of(us_loop_t *loop);

/// The iteration of the loop, which µSockets counts before the poll phase.
std::uint64_t iteration_of(us_loop_t *loop);

}  // namespace nws
