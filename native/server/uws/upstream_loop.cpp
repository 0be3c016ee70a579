#include "server/uws/upstream_loop.h"

#include "server/uws/upstream.h"
#include "server/uws/upstream_internals.h"

namespace nws {

UpstreamLoop::UpstreamLoop(uv_loop_t *loop) : sockets_(reinterpret_cast<us_loop_t *>(uWS::Loop::get(loop))) {}

UpstreamLoop::~UpstreamLoop() {
  us_internal_free_closed_sockets(sockets_);
  reinterpret_cast<uWS::Loop *>(sockets_)->free();
}

void end_turn_of(us_loop_t *loop) {
  us_internal_loop_post(loop);
  us_internal_loop_pre(loop);
}

std::uint64_t iteration_of(us_loop_t *loop) { return static_cast<std::uint64_t>(us_loop_iteration_number(loop)); }

}  // namespace nws
