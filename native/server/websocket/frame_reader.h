// Reads the frames of a server's WebSocket connections: as much in a turn as a connection's share allows, and
// the rest in later turns. Internal to websocket_server.cpp.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "server/net/turns.h"
#include "server/uws/read_control.h"
#include "server/uws/upstream.h"
#include "server/websocket/buffered_amount.h"
#include "server/websocket/connection_table.h"
#include "server/websocket/frames.h"
#include "server/websocket/unparsed_input.h"

namespace nws {

/// Lives on its loop's thread. While SocketData::waits is set, the connection's unparsed input is here, and
/// its socket is not polled.
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

  /// Frames have come; the memory is the parser's to change, and has room around it. The connection may be
  /// gone afterwards.
  [[gnu::hot]] void receive(WebSocket *ws, char *bytes, std::size_t length) {
    if (SocketData *data = ws->getUserData(); data->waits) {
      // TLS may bring a second piece from what was read at once.
      unparsed_.at(data->id).append({bytes, length});
      return;
    }
    parse(ws, bytes, length, [&](std::string_view rest) { return UnparsedInput(turn_.take_put_off(), rest); });
  }

  /// The connection is not paused any more, and waits.
  void go_on(WebSocket *ws) {
    std::erase(paused_with_place_, ws->getUserData()->id);
    wait(ws, ws->getUserData()->id, true);
  }

  /// Nothing more is delivered of the connection: what waits is thrown away, and it is read again.
  void drop_waiting(WebSocket *ws) {
    if (SocketData *data = ws->getUserData(); data->waits) {
      forget(*data);
      data->waits = false;
      ReadControl::unpark(SSL, ws, ws->getBufferedAmount() > 0);
    }
  }

  /// The connection has ended.
  void forget(const SocketData &data) {
    if (data.waits) {
      std::erase(paused_with_place_, data.id);
      unparsed_.erase(data.id);
      give_places();
    }
  }

 private:
  void take_turn(void *, std::uint32_t id) override {
    go_on_in_turn(id);
    give_places();
  }

  void go_on_in_turn(ConnectionId id) {
    auto *entry = connections_.find(id);
    auto found = unparsed_.find(id);
    if (!entry || found == unparsed_.end() || !found->second.is_queued()) {
      return;
    }
    auto *ws = static_cast<WebSocket *>(entry->socket);
    found->second.set_queued(false);
    if (ws->getUserData()->paused) {
      // `resume` asks for a turn once more. Others may need the place meanwhile.
      if (found->second.message && found->second.message->place) {
        paused_with_place_.push_back(id);
      }
      return;
    }
    if (ws->getUserData()->compression && ReadControl::is_reset(ws)) {
      frames::cut<SSL>(ws);  // a short message may inflate to a long one, for a client that has gone
      return;
    }
    // Its events may end the connection, and would take the input with it.
    UnparsedInput input = std::move(found->second);
    unparsed_.erase(found);
    ws->getUserData()->waits = false;
    if (input.message || frames::has_unchecked_fragments<SSL>(ws)) {
      inflate(ws, id, std::move(input));
    } else {
      parse(ws, input.data(), input.length(), [&](std::string_view rest) {
        input.message = turn_.take_put_off();
        input.drop_until(rest.data());
        return std::move(input);
      });
    }
    if (frames::is_alive<SSL>(ws) && !ws->getUserData()->waits) {
      ReadControl::unpark(SSL, ws, ws->getBufferedAmount() > 0);
    }
  }

  /// Inflates the message in front of the input, or checks the fragments of one, as far as the connection's
  /// share allows. The input, and what is left of the message, have other turns. The connection may be gone
  /// afterwards.
  void inflate(WebSocket *ws, ConnectionId id, UnparsedInput input) {
    bool may_begin = turn_.begin(nullptr, 0);
    if (may_begin && !input.message) {
      frames::check_fragments_further<SSL>(ws);
      turn_.end();
    } else if (may_begin && take_place(*input.message)) {
      frames::inflate_further<SSL>(ws, input.message);
      turn_.end();
    }
    if (!frames::is_alive<SSL>(ws)) {
      return;
    }
    if (must_wait(ws, input)) {
      keep(ws, id, std::move(input));
      return;
    }
    // As µWebSockets does when it has parsed something.
    frames::restart_idle_timeout<SSL>(ws);
    frames::keep_deadline<SSL>(ws);
  }

  /// Parses as much as the connection's share allows. `take_rest` gives what is left, to be parsed in another
  /// turn. The connection may be gone afterwards.
  template <typename TakeRest>
  [[gnu::hot]] void parse(WebSocket *ws, char *bytes, std::size_t length, TakeRest take_rest) {
    ConnectionId id = ws->getUserData()->id;
    auto *socket = reinterpret_cast<us_socket_t *>(ws);
    uWS::WebSocketState<true> *parser = frames::upgraded_data<SSL>(ws);
    const char *end = bytes + length;
    bool may_begin = turn_.begin(bytes - parser->state.spillLength, parser->state.wantsHead ? 0 : parser->remainingBytes);
    if (may_begin) {
      ContextHandlers::of(SSL).websocket.data(socket, bytes, static_cast<int>(length));
      turn_.end();
      if (!frames::is_alive<SSL>(ws)) {
        turn_.take_put_off();
        return;
      }
      // µWebSockets takes what has come for a sign of life.
      if (ws->getUserData()->has_sent_close() && frames::enforce_deadline<SSL>(ws)) {
        return;
      }
      if (!turn_.is_over()) {
        return;
      }
    }
    const char *rest = may_begin ? turn_.rest() : bytes;
    if (UnparsedInput left = take_rest(std::string_view(rest, static_cast<std::size_t>(end - rest))); must_wait(ws, left)) {
      keep(ws, id, std::move(left));
    }
  }

  /// Whether there is something for another turn.
  bool must_wait(WebSocket *ws, const UnparsedInput &input) const {
    return !input.empty() || frames::has_unchecked_fragments<SSL>(ws);
  }

  /// Waits for a turn, in which the input is dealt with. A connection that has had nothing of its share goes
  /// before those that have, and before those with a long message, which takes more than a share at its end.
  void keep(WebSocket *ws, ConnectionId id, UnparsedInput input) {
    ws->getUserData()->waits = true;
    unparsed_.insert_or_assign(id, std::move(input));
    bool has_long_message = frames::unfinished_message(*frames::upgraded_data<SSL>(ws)).length() > FrameTurn::long_message;
    wait(ws, id, turn_.has_spent() || has_long_message);
  }

  void wait(WebSocket *ws, ConnectionId id, bool spent) {
    poll_as_allowed<SSL>(ws, ws->getUserData());
    UnparsedInput &input = unparsed_.at(id);
    if (input.is_queued()) {
      return;
    }
    input.set_queued(true);
    if (input.message && !take_place(*input.message)) {
      without_place_.push_back(id);
    } else {
      turns_.wait({this, ws, id}, spent);
    }
  }

  /// Whether the message may be inflated: it is short, or has a place, if only from now on.
  bool take_place(CompressedMessage &message) {
    if (FrameTurn::needs_place(message.payload.length()) && !message.place) {
      if (!turn_.has_place() && !free_place()) {
        return false;
      }
      message.place = turn_.take_place();
    }
    return true;
  }

  /// To those that wait for one, in their order, as far as there are any. After whatever gives one back.
  void give_places() {
    while (!without_place_.empty() && (turn_.has_place() || free_place())) {
      ConnectionId id = without_place_.front();
      without_place_.pop_front();
      auto *entry = connections_.find(id);
      auto found = unparsed_.find(id);
      if (entry && found != unparsed_.end() && found->second.message && found->second.is_queued()) {
        found->second.message->place = turn_.take_place();
        turns_.wait({this, entry->socket, id}, true);
      }
    }
  }

  /// Takes the place of the connection that has been paused with one for longest. Its message is inflated
  /// from the beginning when it goes on. False when there is none.
  bool free_place() {
    if (paused_with_place_.empty()) {
      return false;
    }
    ConnectionId id = paused_with_place_.front();
    paused_with_place_.pop_front();
    CompressedMessage &message = *unparsed_.at(id).message;
    static_cast<WebSocket *>(connections_.find(id)->socket)->getUserData()->compression->restart(message);
    message.place.reset();
    return true;
  }

  ConnectionTable &connections_;
  Turns &turns_;
  FrameTurn turn_;
  std::unordered_map<ConnectionId, UnparsedInput> unparsed_;
  /// Whose compressed message waits until one of FrameTurn's places is free. Connections may have gone since:
  /// a place goes to the next one then.
  std::deque<ConnectionId> without_place_;
  /// Connections that are paused while their message has a place: no more than there are places.
  std::deque<ConnectionId> paused_with_place_;
};

template <bool SSL>
[[gnu::hot]] us_socket_t *receive_frames(us_socket_t *socket, char *data, int length) {
  auto *ws = reinterpret_cast<frames::WebSocket<SSL> *>(socket);
  if (frames::is_alive<SSL>(ws)) {
    TlsWriteDeferral guard(SSL, socket);
    ws->getUserData()->route->owner->receive(ws, data, static_cast<std::size_t>(length));
  }
  return socket;
}

}  // namespace nws
