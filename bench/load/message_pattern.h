// The messages: a fixed pattern whose first bytes are a sequence number, so that no message can pass for another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace load {

class MessagePattern {
 public:
  MessagePattern(std::size_t size, bool binary);

  /// Appends the masked frame (RFC 6455, section 5.2) of message `sequence`.
  void append_frame(std::string &target, std::uint32_t sequence) const;

  /// Whether `piece` is what message `sequence` has at `offset`.
  bool matches(std::uint32_t sequence, std::size_t offset, std::string_view piece) const;

  std::size_t size() const { return payload_.size(); }
  /// 1 is text, 2 is binary.
  int op_code() const { return binary_ ? 2 : 1; }

 private:
  static constexpr std::size_t digits = 8;

  bool binary_;
  std::string payload_;
  /// How many digits of the sequence number a message has room for.
  std::size_t prefix_;
  /// A whole frame, with digits that are overwritten.
  std::string frame_;
  std::size_t header_;
};

}  // namespace load
