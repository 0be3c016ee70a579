// The share of a turn that one WebSocket connection's frames have, and where its parser was stopped when that was used up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "turns.h"

namespace nws {

/// One for all connections of a server, since one connection is parsed at a time. Lives on the loop's thread.
class FrameTurn {
 public:
  /// The turns outlive this.
  explicit FrameTurn(Turns &turns) : turns_(turns) {}

  /// Before a connection's input is parsed. `input` is where the parser begins, and `to_first_head` the rest of a frame that
  /// stands before the first head. False: all connections together have had their share.
  bool begin(const char *input, std::uint64_t to_first_head) {
    events_at_begin_ = events_left_ = turns_.events_left();
    inflated_ = 0;
    put_off_.clear();
    input_ = input;
    next_head_ = to_first_head;
    return events_left_ > 0;
  }
  /// After it.
  void end() { turns_.spend_events(events_at_begin_ - events_left_); }

  /// The parser begins a frame with a payload of this length, and has not unmasked it yet. A head has 2, 4 or 10 bytes, and a
  /// mask of 4 (RFC 6455, section 5.2).
  void begin_frame(std::uint64_t length) {
    int short_length = input_[next_head_ + 1] & 0x7f;
    next_head_ += (short_length < 126 ? 6 : short_length == 126 ? 8 : 14) + length;
  }

  /// An event was raised. True: it was the last of this turn, and the parser must stop.
  bool spend_event() { return --events_left_ == 0; }
  /// A message may be inflated in this turn.
  bool may_inflate() const { return turns_.may_inflate(); }
  /// It was, to so many bytes.
  void spend_inflated(std::size_t bytes) {
    turns_.spend_inflated(bytes);
    inflated_ += bytes;
    if (inflated_ > Turns::max_inflated && events_left_ > 1) {
      events_at_begin_ -= events_left_ - 1;  // the event that it becomes is the last one
      events_left_ = 1;
    }
  }
  /// A compressed message has to wait for another turn, as one frame in front of what follows.
  void put_off(std::string frame) {
    put_off_ = std::move(frame);
    events_at_begin_ -= events_left_;
    events_left_ = 0;
  }

  /// The connection's share is used up.
  bool is_over() const { return events_left_ == 0; }
  /// Behind the frame that was parsed last.
  const char *rest() const { return input_ + next_head_; }
  std::string take_put_off() { return std::exchange(put_off_, {}); }

 private:
  Turns &turns_;
  std::uint32_t events_left_ = 0;
  std::uint32_t events_at_begin_ = 0;
  std::size_t inflated_ = 0;
  const char *input_ = nullptr;
  /// Counted from there. Of no meaning behind a frame that is refused for its length.
  std::uint64_t next_head_ = 0;
  std::string put_off_;
};

}  // namespace nws
