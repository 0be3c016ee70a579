// The messages: a fixed pattern with a sequence number in it, so that no message can pass for another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "options.h"

namespace load {

class MessagePattern {
 public:
  /// Throws std::invalid_argument when `size` is too small or too large for the content.
  explicit MessagePattern(const Options &options);

  /// Appends the masked frame (RFC 6455, section 5.2) of message `sequence`.
  void append_frame(std::string &target, std::uint32_t sequence) const;

  /// Whether `piece` is what message `sequence` has at `offset`.
  bool matches(std::uint32_t sequence, std::size_t offset, std::string_view piece) const;

  std::size_t size() const { return payload_.size(); }
  /// Bytes of a message as it is sent, without the frame's header.
  std::size_t sent_size() const { return frame_.size() - header_; }
  /// 1 is text, 2 is binary.
  int op_code() const { return content_ == Content::binary ? 2 : 1; }

 private:
  static constexpr std::size_t most_digits = 8;

  void write_digits(char *target, std::uint32_t sequence) const;
  void make_frame(const std::string &sent, bool compressed);

  Content content_;
  /// What comes back, with any digits.
  std::string payload_;
  /// Where in the payload the sequence number is, and how many of its digits a message has room for.
  std::size_t digits_at_;
  std::size_t digits_;
  /// A whole frame, with digits that are overwritten. They are as they are in a compressed frame too (a block
  /// of their own, followed by one that is compressed): so a message costs the client no compression, but
  /// each is another to the server.
  std::string frame_;
  std::size_t header_ = 0;
  std::size_t frame_digits_at_ = 0;
};

}  // namespace load
