// Memory in which long binary messages are lent to handlers. It is used again once these have returned, and
// so stays in the processor's caches.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "server/net/turns.h"
#include "server/uws/receive_buffer.h"

namespace nws {

/// One for each thread that lends. Sockets are read into it (uws/socket_dispatch.cpp), so that a message that
/// one read has brought whole is lent where it is. What is lent lies in front of what is not, and when there
/// is no room to read another socket, `Turns` has the messages delivered first.
class LentMemory {
 public:
  /// The memory, and the turns of the thread's loop, outlive this.
  LentMemory(std::span<char> memory, Turns &turns) : memory_(memory), turns_(turns) { current_ = this; }
  ~LentMemory() { current_ = nullptr; }
  LentMemory(const LentMemory &) = delete;
  LentMemory &operator=(const LentMemory &) = delete;

  /// The one of this thread; null where there is none.
  static LentMemory *current() { return current_; }

  /// Room for ReceiveBuffer::length bytes with padding around them, until `end_reading`; null when there is
  /// none.
  char *begin_reading() {
    if (!has_room_to_read()) {
      return nullptr;
    }
    reading_end_ = used_ + read_size;
    return memory_.data() + used_ + ReceiveBuffer::padding;
  }
  void end_reading() { reading_end_ = 0; }

  /// Where the message is in the memory until `reuse`: it is copied if it is not there already. None when
  /// there is no room.
  std::optional<std::size_t> lend(std::string_view message) {
    const char *begin = memory_.data();
    bool is_here = message.data() >= begin && message.data() < begin + memory_.size();
    // Frames that are still to be parsed may be up to there.
    std::size_t offset = is_here ? static_cast<std::size_t>(message.data() - begin) : std::max(used_, reading_end_);
    if (message.length() > memory_.size() - offset) {
      return std::nullopt;
    }
    if (!is_here) {
      message.copy(memory_.data() + offset, message.length());
    }
    used_ = std::max(used_, offset + message.length());
    if (!has_room_to_read()) {
      turns_.make_hand_over_due();
    }
    return offset;
  }

  /// No handler has anything that was lent, and no socket is being read.
  void reuse() { used_ = 0; }

 private:
  static constexpr std::size_t read_size = ReceiveBuffer::length + 2 * ReceiveBuffer::padding;

  bool has_room_to_read() const { return memory_.size() - used_ >= read_size; }

  static inline thread_local LentMemory *current_ = nullptr;

  std::span<char> memory_;
  Turns &turns_;
  /// Behind everything that is lent.
  std::size_t used_ = 0;
  /// Behind what a socket is being read into; 0 when none is.
  std::size_t reading_end_ = 0;
};

}  // namespace nws
