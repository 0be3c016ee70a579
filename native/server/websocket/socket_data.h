// What the server keeps for each WebSocket connection, beside what µWebSockets keeps itself.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "server/websocket/compression.h"
#include "server/websocket/op_code.h"

namespace uWS {
struct Subscriber;
struct TopicTreeMessage;
struct TopicTreeBigMessage;
template <typename T, typename B>
struct TopicTree;
}  // namespace uWS

namespace nws {

class ConnectionOwner;

/// Names one open connection of one thread; 0 is none. See ConnectionTable.
using ConnectionId = std::uint32_t;

class FrameTurn;

using TopicTree = uWS::TopicTree<uWS::TopicTreeMessage, uWS::TopicTreeBigMessage>;

/// What one WebSocket route asks of its connections. Defaults and ranges are the caller's: each part of an
/// idle timeout (websocket_connections.h) is at most Timeouts::longest, so that the whole is at most 960
/// seconds.
struct RouteOptions {
  std::uint32_t max_payload_length;
  std::uint32_t max_backpressure;
  std::uint16_t idle_timeout;
  bool send_pings;
  /// Whether it may be agreed on.
  bool compression = false;
  /// Of a message that we send. While one is under way, so much of max_backpressure is kept free for it.
  std::uint32_t max_fragment_length = 0;
  /// Whether ServerEvents::on_dropped is asked for.
  bool report_drops = false;
  /// What on_message brings as text is handed on as bytes.
  bool text_as_bytes = false;
  /// What on_message brings as long binary messages is handed on in memory that is used again.
  bool lend_messages = false;
};

/// The limits of one connection: its route's, or smaller ones.
struct ConnectionLimits {
  std::uint32_t max_payload_length;
  std::uint32_t max_backpressure;
  std::uint32_t max_fragment_length;

  static ConnectionLimits of(const RouteOptions &route) {
    return {.max_payload_length = route.max_payload_length,
            .max_backpressure = route.max_backpressure,
            .max_fragment_length = route.max_fragment_length};
  }
};

/// What all connections of a route have in common.
struct Route {
  RouteOptions options;
  /// The one way from a connection to its server.
  ConnectionOwner *owner;
  FrameTurn *turn;
};

/// How far a connection's end has come. From `open` it goes to `peer_closed` or to `closing`, by which side
/// closes first, and from each of them to `finishing`, unless nothing waits to be written: then the end comes
/// at once.
enum class CloseState : std::uint8_t {
  open,
  /// The peer has sent a Close frame or made an error: nothing more is delivered. What answers earlier
  /// messages may still be sent, until ConnectionOwner::finish.
  peer_closed,
  /// We have sent a Close frame, and wait for the peer's: nothing more is sent or delivered.
  closing,
  /// Both have ended, but our Close frame waits behind other bytes: the end comes when they have been
  /// written.
  finishing,
};

/// What is known of a connection's end.
struct Ending {
  /// While we wait for the peer's Close frame: how long (milliseconds, steady clock).
  std::int64_t deadline = 0;
  /// What the connection ends with, once that is known: the peer's Close frame, or the code of an error.
  /// Reported in place of 1006.
  std::uint16_t code = 0;
  std::string reason;
  /// It is what the peer's Close frame says.
  bool is_peers = false;
  /// The peer has sent FIN behind it.
  bool has_left = false;
};

/// Gives a subscriber back to its tree, which unlinks it everywhere.
struct SubscriberDeleter {
  TopicTree *tree = nullptr;
  /// Defined in publishing.h.
  void operator()(uWS::Subscriber *subscriber) const;
};

/// What waits behind a message that is being sent in fragments.
struct HeldMessages {
  struct Message {
    std::string payload;
    OpCode op_code;
    Compress compress;
    /// on_sent is asked for.
    bool report_sent;
    /// Another message in fragments begins here; nothing else of this means anything.
    bool is_beginning;

    /// In bytes. An empty one counts as one byte: otherwise any number of them could wait.
    std::size_t size() const { return std::max<std::size_t>(payload.length(), 1); }
  };
  std::deque<Message> messages;
  /// The sum of their sizes.
  std::size_t bytes = 0;
  /// The message under way is compressed.
  bool compressed = false;
  /// on_fragment_drain is asked for.
  bool awaits_drain = false;

  void add(std::string_view payload, OpCode op_code, Compress compress, bool report_sent) {
    messages.push_back({std::string(payload), op_code, compress, report_sent, false});
    bytes += messages.back().size();
  }
};

/// Lives inside the µWebSockets socket, which constructs it at the upgrade and destroys it when the
/// connection ends.
struct SocketData {
  /// Belongs to the server, and outlives the connection.
  const Route *route = nullptr;
  /// Made by the first subscription.
  std::unique_ptr<uWS::Subscriber, SubscriberDeleter> subscriber;
  /// Where compression was agreed on.
  std::unique_ptr<Compression> compression;
  /// While a message is being sent in fragments.
  std::unique_ptr<HeldMessages> held;
  /// There from the moment at which `close_state` is not `open`.
  std::unique_ptr<Ending> ending;
  ConnectionId id = 0;
  CloseState close_state = CloseState::open;
  /// The message that is being received is compressed.
  bool receiving_compressed : 1 = false;
  /// SentReports knows of messages that have not left.
  bool reports_sent : 1 = false;
  /// We have sent a Ping by ourselves, and no Pong has come that may answer it.
  bool awaits_pong : 1 = false;
  /// Nothing is read until ConnectionOwner::resume.
  bool paused = false;
  /// Input that was read waits to be parsed, for a turn of this connection or for `resume`. Nothing is read
  /// meanwhile.
  bool waits = false;
  /// Bytes of a text message in pieces that are known to be valid UTF-8, or its last character that is not
  /// complete.
  std::uint32_t checked_text = 0;
  /// Of a message that is received, after decompression.
  std::uint32_t max_payload_length = 0;

  /// Whether our Close frame has been sent, or waits to be.
  bool has_sent_close() const { return close_state >= CloseState::closing; }
  /// Whether the peer has sent its Close frame, or made an error.
  bool has_peer_closed() const { return close_state == CloseState::peer_closed || close_state == CloseState::finishing; }

  /// The state is not `open` from now on.
  Ending &advance(CloseState state) {
    close_state = state;
    if (!ending) {
      ending = std::make_unique<Ending>();
    }
    return *ending;
  }
};
// With this, a WebSocket takes as much memory as the HTTP connection that it was, and the upgrade moves
// nothing.
static_assert(sizeof(SocketData) <= 64);

}  // namespace nws
