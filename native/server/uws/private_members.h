// Opens private members of µWebSockets. A program may do this in one of its sources alone: include this from
// what websocket_server.cpp is made of.
//
// Why: a WebSocket's idle timeout and its end are ours to decide, and µWebSockets keeps both to itself.
//
// At the next release: what WebSocketContext.h and WebSocket.h mean by `isShuttingDown` and `hasTimedOut`,
// and when they clear the latter.
#pragma once

#include "server/uws/upstream.h"

namespace nws::frames {

/// Opens a private member of WebSocketData: access is not checked where a template is instantiated
/// explicitly. Whether the first part of the idle timeout is over; µWebSockets clears it when it reads, and
/// when the peer does.
template <auto Member>
struct TimedOut {
  friend bool &timed_out(uWS::WebSocketData &data) { return data.*Member; }
};
template struct TimedOut<&uWS::WebSocketData::hasTimedOut>;
bool &timed_out(uWS::WebSocketData &data);

/// Likewise. Whether the connection's end was reported: it has no SocketData any more.
template <auto Member>
struct ShuttingDown {
  friend bool &is_shutting_down(uWS::WebSocketData &data) { return data.*Member; }
};
template struct ShuttingDown<&uWS::WebSocketData::isShuttingDown>;
bool &is_shutting_down(uWS::WebSocketData &data);

template <bool SSL>
uWS::WebSocketData *upgraded_data(WebSocket<SSL> *ws) {
  return static_cast<uWS::WebSocketData *>(us_socket_ext(SSL, reinterpret_cast<us_socket_t *>(ws)));
}

}  // namespace nws::frames
