#include "server/net/event_loop.h"

namespace nws {

EventLoop::EventLoop(uv_loop_t *loop)
    : uv_(loop), sockets_(SocketSet::create(loop)), upstream_(loop), turns_(loop, upstream_.sockets()) {}

}  // namespace nws
