// Reads the frames of a server's WebSocket connections: as much in a turn as a connection's share allows, and the rest in later
// turns. Internal to websocket_server.cpp.
#pragma once

#include "http_pipeline.h"  // before App.h
#include "reading.h"        // likewise

#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "connection_table.h"
#include "turns.h"
#include "unparsed_input.h"
#include "uws_specializations.h"

namespace nws {

/// Lives on its loop's thread. While SocketData::waits is set, the connection's unparsed input is here, and its socket is not
/// polled.
template <bool SSL>
class FrameReader final : private TurnTaker {
  using WebSocket = frames::WebSocket<SSL>;

 public:
  /// Both outlive this.
  FrameReader(ConnectionTable &connections, Turns &turns) : connections_(connections), turns_(turns), turn_(turns) {}
  ~FrameReader() { turns_.forget(this); }
  FrameReader(const FrameReader &) = delete;
  FrameReader &operator=(const FrameReader &) = delete;

  /// What the parser counts in.
  FrameTurn &turn() { return turn_; }

  /// Frames have come; the memory is the parser's to change, and has room around it. The connection may be gone afterwards.
  void receive(WebSocket *ws, char *bytes, std::size_t length) {
    if (SocketData *data = ws->getUserData(); data->waits) {
      // TLS may bring a second piece from what was read at once.
      unparsed_.at(data->id).append({bytes, length});
      return;
    }
    parse(ws, bytes, length, [&](std::string_view rest) { return UnparsedInput(turn_.take_put_off(), rest); });
  }

  /// The connection is not paused any more, and waits.
  void go_on(WebSocket *ws) { wait(ws, ws->getUserData()->id, true); }

  /// The connection has ended.
  void forget(const SocketData &data) {
    if (data.waits) {
      unparsed_.erase(data.id);
    }
  }

 private:
  void take_turn(void *, std::uint32_t id) override {
    auto *entry = connections_.find(id);
    auto found = unparsed_.find(id);
    if (!entry || found == unparsed_.end() || !found->second.is_queued()) {
      return;
    }
    auto *ws = static_cast<WebSocket *>(entry->socket);
    found->second.set_queued(false);
    if (ws->getUserData()->paused) {
      return;  // `resume` asks for a turn once more
    }
    // Its events may end the connection, and would take the input with it.
    UnparsedInput input = std::move(found->second);
    unparsed_.erase(found);
    ws->getUserData()->waits = false;
    parse(ws, input.data(), input.length(), [&](std::string_view rest) {
      if (std::string frame = turn_.take_put_off(); !frame.empty()) {
        return UnparsedInput(std::move(frame), rest);
      }
      input.drop_until(rest.data());
      return std::move(input);
    });
    if (entry = connections_.find(id); entry && !ws->getUserData()->waits) {
      Reading::unpark(SSL, ws, ws->getBufferedAmount() > 0);
    }
  }

  /// Parses as much as the connection's share allows. `keep` gives what is left, to be parsed in another turn. The connection may
  /// be gone afterwards.
  template <typename Keep>
  void parse(WebSocket *ws, char *bytes, std::size_t length, Keep keep) {
    ConnectionId id = ws->getUserData()->id;
    auto *socket = reinterpret_cast<us_socket_t *>(ws);
    uWS::WebSocketState<true> *parser = static_cast<uWS::WebSocketData *>(us_socket_ext(SSL, socket));
    const char *end = bytes + length;
    bool may_begin = turn_.begin(bytes - parser->state.spillLength, parser->state.wantsHead ? 0 : parser->remainingBytes);
    if (may_begin) {
      HttpPipeline::registered(SSL).websocket(socket, bytes, static_cast<int>(length));
      turn_.end();
      if (!turn_.is_over() || !connections_.find(id)) {
        return;
      }
    }
    const char *rest = may_begin ? turn_.rest() : bytes;
    if (UnparsedInput left = keep(std::string_view(rest, static_cast<std::size_t>(end - rest))); left.length() > 0) {
      ws->getUserData()->waits = true;
      unparsed_.insert_or_assign(id, std::move(left));
      wait(ws, id, may_begin);
    }
  }

  /// `spent`: the connection has had a share in this pass.
  void wait(WebSocket *ws, ConnectionId id, bool spent) {
    Reading::park(SSL, ws);
    if (UnparsedInput &input = unparsed_.at(id); !input.is_queued()) {
      input.set_queued(true);
      turns_.wait({this, ws, id}, spent);
    }
  }

  ConnectionTable &connections_;
  Turns &turns_;
  FrameTurn turn_;
  std::unordered_map<ConnectionId, UnparsedInput> unparsed_;
};

template <bool SSL>
us_socket_t *receive_frames(us_socket_t *socket, char *data, int length) {
  // One that was shut down has no SocketData any more.
  if (!us_socket_is_shut_down(SSL, socket)) {
    ReadGuard guard(SSL, socket);
    auto *ws = reinterpret_cast<frames::WebSocket<SSL> *>(socket);
    ws->getUserData()->route->owner->receive(ws, data, static_cast<std::size_t>(length));
  }
  return socket;
}

}  // namespace nws
