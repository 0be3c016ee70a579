// What is done when a WebSocket's socket is writable, when its time is over, and when its peer has sent FIN.
// Internal to websocket_server.cpp.
#pragma once

#include "server/uws/read_control.h"
#include "server/uws/upstream.h"
#include "server/websocket/buffered_amount.h"
#include "server/websocket/closing_handshake.h"

namespace nws {

template <bool SSL>
us_socket_t *write_websocket(us_socket_t *socket) {
  WritableScope scope(socket);
  socket = ContextHandlers::of(SSL).websocket.writable(socket);
  auto *ws = reinterpret_cast<frames::WebSocket<SSL> *>(socket);
  if (frames::is_alive<SSL>(ws)) {
    SocketData *data = ws->getUserData();
    if (data->paused && ReadControl::is_reset(ws)) {
      data->route->owner->reset(ws);
    } else if (data->paused || data->waits) {
      poll_as_allowed<SSL>(ws, data);
    } else if (data->has_sent_close()) {
      frames::keep_deadline<SSL>(ws);
      if (data->ending->has_left && ReadControl::is_reset(ws)) {
        frames::cut<SSL>(ws);
      } else if (data->ending->has_left) {
        ReadControl::stop_at_end(SSL, ws, ws->getBufferedAmount() > 0);
      }
    } else if (ws->getBufferedAmount() > 0) {
      // The peer has read, for the kernel has room again. µWebSockets goes by what still waits, and there it
      // does not see every byte leave: OpenSSL tells of none before all that it was given have left.
      frames::restart_idle_timeout<SSL>(ws);
    }
  }
  return socket;
}

/// A timeout has struck: µWebSockets sends a Ping, or ends the connection.
template <bool SSL>
us_socket_t *time_out_websocket(us_socket_t *socket) {
  auto *ws = reinterpret_cast<frames::WebSocket<SSL> *>(socket);
  bool may_ping = frames::is_alive<SSL>(ws) && !frames::timed_out(*frames::upgraded_data<SSL>(ws));
  socket = ContextHandlers::of(SSL).websocket.timeout(socket);
  if (may_ping && frames::is_alive<SSL>(ws) && ws->getUserData()->route->options.send_pings) {
    ws->getUserData()->awaits_pong = true;
    ws->getUserData()->route->owner->note_frame(ws, 0);
  }
  return socket;
}

/// Behind the peer's Close frame, or its error, what waits for it is still written, and then our Close frame:
/// until the deadline of frames::finish.
///
/// A paused connection is told of a reset here, and one that waits for its turn while bytes wait for its
/// client: what came before the reset has its turn.
template <bool SSL>
us_socket_t *end_websocket(us_socket_t *socket) {
  auto *ws = reinterpret_cast<frames::WebSocket<SSL> *>(socket);
  if (frames::is_alive<SSL>(ws) && ws->getUserData()->paused && ReadControl::is_reset(socket)) {
    ws->getUserData()->route->owner->reset(ws);
    return socket;
  }
  if (frames::is_alive<SSL>(ws) && ws->getUserData()->waits) {
    ReadControl::park(SSL, ws, false);
    return socket;
  }
  bool can_write = !ReadControl::is_reset(socket) && (!SSL || can_write_tls(socket));
  if (!frames::is_alive<SSL>(ws) || !ws->getUserData()->has_peer_closed() || !can_write) {
    return us_socket_close(SSL, socket, 0, nullptr);
  }
  ws->getUserData()->ending->has_left = true;
  ReadControl::stop_at_end(SSL, ws, ws->getBufferedAmount() > 0);
  return socket;
}

}  // namespace nws
