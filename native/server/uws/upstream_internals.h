// µSockets' own view of sockets, contexts and loops, where no public function tells what we must know.
#pragma once

#include "server/uws/socket_poll.h"

extern "C" {
#define uv_poll_t nws_socket_poll  // as usockets_poll_names.h has it
#include "internal/internal.h"
#undef uv_poll_t
}
