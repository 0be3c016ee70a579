// Input of one WebSocket connection that was read and not parsed.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>

#include "server/uws/receive_buffer.h"
#include "server/websocket/compression.h"

namespace nws {

/// The bytes, with the room around them that µWebSockets' parser reads and writes, so that the parser can go
/// on in place however often it is stopped. At most what a socket is read for at once, and in front of it one
/// compressed message.
class UnparsedInput {
 public:
  UnparsedInput(std::unique_ptr<CompressedMessage> first, std::string_view rest) : message(std::move(first)) { assign(rest, {}); }

  /// Comes before the bytes; null when there is none.
  std::unique_ptr<CompressedMessage> message;
  bool empty() const { return !message && length() == 0; }

  char *data() { return memory_.get() + begin_; }
  std::size_t length() const { return end_ - begin_; }
  void append(std::string_view more) {
    std::unique_ptr<char[]> before = std::move(memory_);
    assign({before.get() + begin_, length()}, more);
  }
  /// What is before `rest`, which points into the bytes, is done with.
  void drop_until(const char *rest) { begin_ = static_cast<std::size_t>(rest - memory_.get()); }

  /// Whether the connection stands in the queue for a turn.
  bool is_queued() const { return is_queued_; }
  void set_queued(bool queued) { is_queued_ = queued; }

 private:
  void assign(std::string_view first, std::string_view second) {
    std::size_t size = first.length() + second.length();
    memory_ = std::make_unique_for_overwrite<char[]>(size + 2 * ReceiveBuffer::padding);
    begin_ = ReceiveBuffer::padding;
    end_ = begin_ + size;
    first.copy(data(), first.length());
    second.copy(data() + first.length(), second.length());
  }

  std::unique_ptr<char[]> memory_;
  std::size_t begin_ = 0, end_ = 0;
  bool is_queued_ = false;
};

}  // namespace nws
