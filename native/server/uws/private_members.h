// Opens private members of µWebSockets. A program may do this in one of its sources alone: include this from
// what websocket_server.cpp is made of.
//
// Why: a WebSocket's idle timeout, its end and its turn are ours to decide, and µWebSockets keeps what they
// depend on to itself; so does its topic tree with the order in which it writes to subscribers.
//
// At the next release: what WebSocketContext.h and WebSocket.h mean by `isShuttingDown`, `hasTimedOut` and
// `fragmentBuffer`, and when they clear the second; that TopicTree.h writes to a list of subscribers from
// `next` to `next`.
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

/// Likewise. What has come of the message that is not whole yet; empty while nothing has.
template <auto Member>
struct UnfinishedMessage {
  friend const std::string &unfinished_message(const uWS::WebSocketData &data) { return data.*Member; }
};
template struct UnfinishedMessage<&uWS::WebSocketData::fragmentBuffer>;
const std::string &unfinished_message(const uWS::WebSocketData &data);

/// Likewise. Behind this one in the tree's list of those to which something is to be written; null at its
/// end.
template <auto Member>
struct NextSubscriber {
  friend uWS::Subscriber *next_subscriber(const uWS::Subscriber &subscriber) { return subscriber.*Member; }
};
template struct NextSubscriber<&uWS::Subscriber::next>;
uWS::Subscriber *next_subscriber(const uWS::Subscriber &subscriber);

template <bool SSL>
uWS::WebSocketData *upgraded_data(WebSocket<SSL> *ws) {
  return static_cast<uWS::WebSocketData *>(us_socket_ext(SSL, reinterpret_cast<us_socket_t *>(ws)));
}

}  // namespace nws::frames
