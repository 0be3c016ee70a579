/* What µSockets has for the poll of a socket, in place of libuv's uv_poll_t: C, because µSockets includes
 * it (usockets_poll_names.h). Part of the seam in socket_set.h, which says what these functions do. */
#pragma once

#include <uv.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A quarter of a uv_poll_t, which has much that only libuv needs. µSockets allocates it, sets `data`, and
 * frees it at the end of the iteration in which the socket has closed. */
struct nws_socket_poll {
  /* µSockets' us_poll_t, which is a connected socket's. */
  void *data;
  /* Does the work where the thread has no set; else null. Freed when libuv has closed it. */
  uv_poll_t *in_libuv;
  /* UV_UNKNOWN_HANDLE, where libuv's handles have their type: nws_close knows it by that. */
  uv_handle_type type;
  uv_os_sock_t descriptor;
  /* A combination of uv_poll_event and SocketSet::reset_only. */
  unsigned events;
  /* Of the queue of those that rest, where it stands in it; else 0. */
  unsigned resting_number;
  /* In which call of SocketSet::dispatch it was last seen. */
  unsigned last_round;
  /* Whether its socket is one of TCP (SocketSet::is_shown_once). Set by SocketSet::begin. */
  unsigned is_tcp;
};

typedef void (*nws_poll_callback)(struct nws_socket_poll *poll, int status, int events);

int nws_poll_init_socket(uv_loop_t *loop, struct nws_socket_poll *poll, uv_os_sock_t descriptor);
int nws_poll_start(struct nws_socket_poll *poll, int events, nws_poll_callback callback);
int nws_poll_stop(struct nws_socket_poll *poll);
/* Also of µSockets' own handles, which are libuv's. */
void nws_close(uv_handle_t *handle, uv_close_cb callback);
/* Of polls alone. */
int nws_is_closing(const uv_handle_t *poll);

#ifdef __cplusplus
}

namespace nws {
using SocketPoll = nws_socket_poll;
}
#endif
