#include "server/net/event_loop.h"

#include <App.h>

// µSockets frees closed sockets at the end of an iteration (loop.c). A loop that is taken away before it gets
// there has to do it now, or they would leak.
extern "C" void us_internal_free_closed_sockets(struct us_loop_t *loop);

namespace nws {

EventLoop::EventLoop(uv_loop_t *loop)
    : uv_(loop),
      sockets_(SocketSet::create(loop)),
      loop_(uWS::Loop::get(loop)),
      turns_(loop, reinterpret_cast<us_loop_t *>(loop_)) {}

EventLoop::~EventLoop() {
  us_internal_free_closed_sockets(reinterpret_cast<us_loop_t *>(loop_));
  loop_->free();
}

}  // namespace nws
