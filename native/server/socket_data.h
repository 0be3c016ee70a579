// What the server keeps for each WebSocket connection, beside what µWebSockets keeps itself.
#pragma once

#include <cstdint>
#include <memory>

#include <App.h>

namespace nws {

/// Names one open connection of one thread; 0 is none. See ConnectionTable.
using ConnectionId = std::uint32_t;

using TopicTree = uWS::TopicTree<uWS::TopicTreeMessage, uWS::TopicTreeBigMessage>;

/// What one WebSocket route asks of its connections. Checked by the caller: µWebSockets terminates the process on an
/// idle timeout of 1 to 7 or over 960 seconds (App.h, TemplatedApp::ws).
struct RouteOptions {
  std::uint32_t max_payload_length = 16 * 1024 * 1024;
  std::uint32_t max_backpressure = 16 * 1024 * 1024;
  std::uint16_t idle_timeout = 120;
  bool send_pings = true;
};

/// Gives a subscriber back to its tree, which unlinks it everywhere.
struct SubscriberDeleter {
  TopicTree *tree = nullptr;
  void operator()(uWS::Subscriber *subscriber) const { tree->freeSubscriber(subscriber); }
};

/// Lives inside the µWebSockets socket, which constructs it at the upgrade and destroys it when the connection ends.
struct SocketData {
  ConnectionId id = 0;
  /// Counts the connections of its server, from 1.
  std::uint64_t user_id = 0;
  /// Milliseconds since the Unix epoch.
  std::int64_t connected_at = 0;
  /// Outlives every connection: it belongs to the server.
  const RouteOptions *route = nullptr;
  /// Made by the first subscription.
  std::unique_ptr<uWS::Subscriber, SubscriberDeleter> subscriber;
  /// We have sent a Close frame and wait for the peer's until this moment (milliseconds, steady clock).
  std::int64_t close_deadline = 0;
  /// The code to report when the socket closes, in place of 1006.
  std::uint16_t close_code = 0;
  /// Whether `close_deadline` is set: nothing more is sent or delivered.
  bool closing = false;
};

}  // namespace nws
