// What is to be done whenever something was written to a WebSocket.
#pragma once

#include "reading.h"  // before App.h

#include "connection_table.h"
#include "uws_specializations.h"

namespace nws {

/// Bytes that wait for the peer, or behind a message in fragments.
template <bool SSL>
std::uint32_t buffered_amount(frames::WebSocket<SSL> *ws, const SocketData *data) {
  return ws->getBufferedAmount() + (data->held ? static_cast<std::uint32_t>(data->held->bytes) : 0);
}

/// Tells the sender how many bytes wait. A connection that is not read stays so: a write that fails makes µSockets read.
template <bool SSL>
void note_buffered(frames::WebSocket<SSL> *ws, SocketData *data, ConnectionTable &connections) {
  connections.account(data->id).buffered = buffered_amount<SSL>(ws, data);
  if (data->waits) {
    Reading::park(SSL, ws);
  } else if (data->paused) {
    Reading::stop(SSL, ws);
  }
}

}  // namespace nws
