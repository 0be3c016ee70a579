// A seam (see upstream.h). In place of us_socket_context_on_data, us_socket_context_on_writable,
// us_socket_context_on_end and, for WebSockets, us_socket_context_on_timeout, where µWebSockets calls them:
// the handler that HttpContext or WebSocketContext registers is remembered, and ours is registered in its
// stead.
//
// Why: what comes on a connection stands in a queue before µWebSockets' parser (http_receiver.h,
// frame_reader.h); what µWebSockets does to a writable socket must be followed (read_control.h), and that it
// has sent a Ping; and behind the peer's FIN, what waits for the peer is still written, where µWebSockets
// would just close.
//
// At the next release: HttpContext.h and WebSocketContext.h are the only callers, HTTP first, each with the
// same handlers for every server; a request with a whole response leaves `hasResponded`; data behind an
// upgrade still goes to the WebSocket's handler. context.c (µSockets): without TLS, us_socket_context_on_end
// sets the handler of the FIN itself. socket.c: only a write that fails makes a socket read again; the poll's
// flags are libuv's.
#pragma once

#include <libusockets.h>

#include "server/uws/tls_reading.h"

namespace nws {

/// Ours. Those of HTTP connections are defined in websocket_server.cpp, those of WebSockets in frame_reader.h
/// and websocket_readiness.h.
template <bool SSL>
us_socket_t *receive_http(us_socket_t *socket, char *data, int length);
template <bool SSL>
us_socket_t *receive_frames(us_socket_t *socket, char *data, int length);
/// The socket is writable: what waits for its peer is written.
template <bool SSL>
us_socket_t *write_http(us_socket_t *socket);
template <bool SSL>
us_socket_t *write_websocket(us_socket_t *socket);
/// The peer has sent FIN.
template <bool SSL>
us_socket_t *end_http(us_socket_t *socket);
template <bool SSL>
us_socket_t *end_websocket(us_socket_t *socket);
/// A timeout has struck.
template <bool SSL>
us_socket_t *time_out_websocket(us_socket_t *socket);

/// What µWebSockets has registered on this thread, for plain connections or for TLS. The handlers are the
/// same for every server.
class ContextHandlers {
 public:
  using OnData = us_socket_t *(*)(us_socket_t *, char *, int);
  using OnEvent = us_socket_t *(*)(us_socket_t *);

  struct Registered {
    OnData data = nullptr;
    OnEvent writable = nullptr;
    OnEvent end = nullptr;
    OnEvent timeout = nullptr;
  };
  Registered http, websocket;
  /// Of the server that was made last.
  us_socket_context_t *http_context = nullptr;

  static ContextHandlers &of(bool ssl) {
    static thread_local ContextHandlers handlers[2];
    return handlers[ssl];
  }

  /// Stands in for us_socket_context_on_data.
  static void on_data(int ssl, us_socket_context_t *context, OnData handler) {
    ContextHandlers &handlers = of(ssl != 0);
    if (handlers.remember(&Registered::data, handler)) {
      handlers.http_context = context;
      set_on_data(ssl, context, receive_http<false>, receive_http<true>,
                  [](us_socket_t *socket, char *data, int length) { return read_tls(socket, data, length, receive_http<true>); });
    } else {
      set_on_data(ssl, context, receive_frames<false>, receive_frames<true>, [](us_socket_t *socket, char *data, int length) {
        return read_tls(socket, data, length, receive_frames<true>);
      });
    }
  }
  /// Stands in for us_socket_context_on_writable.
  static void on_writable(int ssl, us_socket_context_t *context, OnEvent handler) {
    bool is_http = of(ssl != 0).remember(&Registered::writable, handler);
    us_socket_context_on_writable(
        ssl, context,
        is_http ? choose(ssl, write_http<false>, write_http<true>) : choose(ssl, write_websocket<false>, write_websocket<true>));
  }
  /// Stands in for us_socket_context_on_end. Ours are registered where the FIN itself is reported, below TLS,
  /// in place of ssl_on_end too.
  static void on_end(int ssl, us_socket_context_t *context, OnEvent handler) {
    bool is_http = of(ssl != 0).remember(&Registered::end, handler);
    us_socket_context_on_end(
        0, context,
        is_http ? choose(ssl, end_http<false>, end_http<true>) : choose(ssl, end_websocket<false>, end_websocket<true>));
  }
  /// Stands in for us_socket_context_on_timeout.
  static void on_timeout(int ssl, us_socket_context_t *context, OnEvent handler) {
    bool is_http = of(ssl != 0).remember(&Registered::timeout, handler);
    us_socket_context_on_timeout(ssl, context,
                                 is_http ? handler : choose(ssl, time_out_websocket<false>, time_out_websocket<true>));
  }

 private:
  /// Whether it is HttpContext's, which is the first one of its kind: it is there before any WebSocket.
  template <typename Handler>
  bool remember(Handler Registered::*kind, Handler handler) {
    bool is_http = !(http.*kind) || http.*kind == handler;
    Registered &registered = is_http ? http : websocket;
    registered.*kind = handler;
    return is_http;
  }

  static OnEvent choose(int ssl, OnEvent plain, OnEvent tls) { return ssl ? tls : plain; }

  /// `encrypted` decrypts, and calls `decrypted`.
  static void set_on_data(int ssl, us_socket_context_t *context, OnData plain, OnData decrypted, OnData encrypted) {
    us_socket_context_on_data(ssl, context, ssl ? decrypted : plain);
    if (ssl) {
      replace_ssl_on_data(context, encrypted);
    }
  }
};

}  // namespace nws
