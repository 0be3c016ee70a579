/* Included before each of µSockets' own files (CMakeLists.txt): what they call libuv's poll is that of
 * socket_poll.h. uv.h comes first, and keeps its names. */
#pragma once

/* As networking/bsd.h defines it before it includes anything. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "socket_poll.h"

#define uv_poll_t struct nws_socket_poll
#define uv_poll_init_socket nws_poll_init_socket
#define uv_poll_start nws_poll_start
#define uv_poll_stop nws_poll_stop
#define uv_close nws_close
#define uv_is_closing nws_is_closing
