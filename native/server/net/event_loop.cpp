#include "server/net/event_loop.h"

namespace nws {

EventLoop::EventLoop(uv_loop_t *loop)
    : uv_(loop), sockets_(SocketSet::create(loop)), upstream_(loop), turns_(loop, upstream_.sockets()) {
  if (sockets_) {
    sockets_->count_in(turns_);
  }
}

void EventLoop::wait_in_socket_set() {
  if (sockets_) {
    sockets_->wait_in_set([this] {
      turns_.hand_over();
      end_turn_of(upstream_.sockets());
    });
  }
}

}  // namespace nws
