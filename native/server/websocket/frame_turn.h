// The share of a turn that one WebSocket connection's frames have, and where its parser was stopped when that
// was used up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "server/net/turns.h"
#include "server/uws/receive_buffer.h"
#include "server/websocket/compression.h"

namespace nws {

/// One for all connections of a server, since one connection is parsed at a time. Lives on the loop's thread.
class FrameTurn {
 public:
  /// Bytes of a long message that take as long as an event. A text that is not ASCII is the slowest: some 6
  /// ns a byte, until it is a string of JavaScript.
  static constexpr std::size_t bytes_of_event = 1024;
  /// Longer messages have come in several turns, and end in one. What is shorter is bounded by what is read
  /// in a turn.
  static constexpr std::size_t long_message = ReceiveBuffer::length;
  /// Messages that may be inflated in steps at the same time: each of them holds what it has inflated to. The
  /// others wait for the place of one of them (frame_reader.h).
  static constexpr std::uint32_t max_inflating = 4;
  /// Bytes of a compressed message that is inflated in one step, and needs no such place: deflate makes at
  /// most 1,032 times as much of them (zlib's technical notes), about Turns::max_inflated.
  static constexpr std::size_t max_short = 1024;

  /// The turns outlive this.
  explicit FrameTurn(Turns &turns) : turns_(turns) {}

  /// Before a connection's input is parsed. `input` is where the parser begins, and `to_first_head` the rest
  /// of a frame that stands before the first head. False: all connections together have had their share.
  bool begin(const char *input, std::uint64_t to_first_head) {
    events_left_ = turns_.events_left();
    spent_ = 0;
    inflated_ = 0;
    input_ = input;
    next_head_ = to_first_head;
    return events_left_ > 0;
  }
  /// After it.
  void end() { turns_.spend_events(spent_); }

  /// The parser begins a frame with a payload of this length, and has not unmasked it yet. A head has 2, 4 or
  /// 10 bytes, and a mask of 4 (RFC 6455, section 5.2).
  void begin_frame(std::uint64_t length) {
    int short_length = input_[next_head_ + 1] & 0x7f;
    next_head_ += (short_length < 126 ? 6 : short_length == 126 ? 8 : 14) + length;
  }

  /// An event with a payload of this length was raised. True: it was the last of this turn, and the parser
  /// must stop.
  bool spend_event(std::size_t length) {
    auto cost = static_cast<std::uint32_t>(1 + (length > long_message ? length / bytes_of_event : 0));
    spent_ += cost;
    events_left_ -= std::min(cost, events_left_);
    return events_left_ == 0;
  }

  /// Whether a message of this length, compressed, needs a place to be inflated.
  static constexpr bool needs_place(std::size_t length) { return length > max_short; }
  /// The cost of one step of such a message.
  static constexpr std::size_t step(std::size_t length) { return needs_place(length) ? Turns::max_inflated : no_share_limit; }
  bool has_place() const { return *inflating_ < max_inflating; }
  /// What the connection may still inflate in this turn.
  std::size_t inflation_left() const {
    return may_inflate() && inflated_ < Turns::max_inflated ? Turns::max_inflated - inflated_ : 0;
  }
  /// Whether something may be inflated in this turn.
  bool may_inflate() const { return turns_.may_inflate(); }
  /// A step was: it is the last one of this turn when the connection's share is used up.
  void spend_inflated(std::size_t cost) {
    turns_.spend_inflated(cost);
    inflated_ += cost;
    if (inflated_ >= Turns::max_inflated) {
      events_left_ = std::min(events_left_, 1u);
    }
  }
  /// What a message that was begun holds until it is whole.
  std::shared_ptr<void> take_place() {
    ++*inflating_;
    return {inflating_.get(), [inflating = inflating_](void *) { --*inflating; }};
  }
  /// A compressed message, in front of what follows, has to wait for another turn.
  void put_off(std::unique_ptr<CompressedMessage> message) {
    put_off_ = std::move(message);
    stop();
  }
  /// The parser must stop: the connection has to wait for another turn.
  void stop() { events_left_ = 0; }
  std::unique_ptr<CompressedMessage> take_put_off() { return std::move(put_off_); }

  /// The connection's share is used up.
  bool is_over() const { return events_left_ == 0; }
  /// Whether the connection has had anything of its share.
  bool has_spent() const { return spent_ > 0 || inflated_ > 0; }
  /// Behind the frame that was parsed last.
  const char *rest() const { return input_ + next_head_; }

 private:
  Turns &turns_;
  std::uint32_t events_left_ = 0;
  std::uint32_t spent_ = 0;
  std::size_t inflated_ = 0;
  const char *input_ = nullptr;
  /// Counted from there. Of no meaning behind a frame that is refused for its length.
  std::uint64_t next_head_ = 0;
  std::unique_ptr<CompressedMessage> put_off_;
  /// Shared with the places, which may outlive this.
  std::shared_ptr<std::uint32_t> inflating_ = std::make_shared<std::uint32_t>(0);
};

}  // namespace nws
