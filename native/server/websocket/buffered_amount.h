// What is to be done whenever something was written to a WebSocket.
#pragma once

#include "server/uws/read_control.h"
#include "server/uws/upstream.h"
#include "server/websocket/closing_handshake.h"
#include "server/websocket/connection_table.h"

namespace nws {

/// Bytes that wait for the peer, or behind a message in fragments.
template <bool SSL>
std::uint32_t buffered_amount(frames::WebSocket<SSL> *ws, const SocketData *data) {
  return ws->getBufferedAmount() + (data->held ? static_cast<std::uint32_t>(data->held->bytes) : 0);
}

/// Polls a connection for what it may do, where that is less than everything; its timeout follows. After each
/// write, since a write that fails makes µSockets read, and when `paused` or `waits` has changed.
template <bool SSL>
void poll_as_allowed(frames::WebSocket<SSL> *ws, const SocketData *data) {
  if (data->paused) {
    ReadControl::stop(SSL, ws, ws->getBufferedAmount() > 0);
  } else if (data->waits) {
    ReadControl::park(SSL, ws, ws->getBufferedAmount() > 0);
  } else {
    return;
  }
  frames::keep_deadline<SSL>(ws);
}

/// Tells the sender how many bytes wait.
template <bool SSL>
[[gnu::hot]] void note_buffered(frames::WebSocket<SSL> *ws, SocketData *data, ConnectionTable &connections) {
  connections.quota(data->id).buffered = buffered_amount<SSL>(ws, data);
  poll_as_allowed<SSL>(ws, data);
}

}  // namespace nws
