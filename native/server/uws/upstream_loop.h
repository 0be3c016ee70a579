// µWebSockets' side of a libuv loop, without its headers.
//
// Why: µSockets frees closed sockets at the end of an iteration; a loop that is taken away before it gets
// there has to do it itself.
//
// At the next release: loop.c (µSockets) has us_internal_free_closed_sockets, which frees what its name says,
// and counts iterations before the poll phase (us_internal_loop_pre).
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

/// The iteration of the loop, which µSockets counts before the poll phase.
std::uint64_t iteration_of(us_loop_t *loop);

}  // namespace nws
