// What is to be done whenever something was written to a WebSocket.
#pragma once

#include "reading.h"  // before App.h

#include "connection_table.h"
#include "uws_specializations.h"

namespace nws {

/// Tells the sender how many bytes wait. A paused connection stays so: a write that fails makes µSockets read.
template <bool SSL>
void note_buffered(frames::WebSocket<SSL> *ws, SocketData *data, ConnectionTable &connections) {
  connections.account(data->id).buffered = ws->getBufferedAmount();
  if (data->paused) {
    Reading::stop(SSL, ws);
  }
}

}  // namespace nws
