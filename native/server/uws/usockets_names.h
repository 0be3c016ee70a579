/* Included before each of µSockets' own files (CMakeLists.txt): what they call libuv's poll is that of
 * socket_poll.h, and what they send with is in system_calls.h. uv.h and the system's headers come first,
 * and keep their names. */
#pragma once

/* As networking/bsd.h defines it before it includes anything. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "socket_poll.h"
#include "system_calls.h"

#define uv_poll_t struct nws_socket_poll
#define uv_poll_init_socket nws_poll_init_socket
#define uv_poll_start nws_poll_start
#define uv_poll_stop nws_poll_stop
#define uv_close nws_close
#define uv_is_closing nws_is_closing
#define send(descriptor, bytes, length, flags) nws_send(descriptor, bytes, length, flags)
#define writev(descriptor, parts, count) nws_writev(descriptor, parts, count)
