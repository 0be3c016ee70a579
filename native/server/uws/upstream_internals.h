// µSockets' own view of sockets, contexts and loops, where no public function tells what we must know.
#pragma once

#include "server/uws/socket_poll.h"

extern "C" {
#include "internal/internal.h"
}

namespace nws {

/// µSockets is compiled with another type for it than its header tells us (usockets_poll_names.h).
inline SocketPoll *poll_of(us_socket_t *socket) { return reinterpret_cast<SocketPoll *>(socket->p.uv_p); }

}  // namespace nws
