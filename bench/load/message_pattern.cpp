#include "message_pattern.h"

#include <algorithm>
#include <cstring>

namespace load {

namespace {

/// A client must mask what it sends; any key costs the server the same.
constexpr unsigned char mask[4] = {0x9c, 0x2d, 0x51, 0xe7};

/// Lowest digit first: a message that is too short for all of them still has those that change most.
void write_digits(char *target, std::size_t count, std::uint32_t sequence) {
  for (std::size_t i = 0; i < count; i++) {
    target[i] = "0123456789abcdef"[sequence & 0xf];
    sequence >>= 4;
  }
}

}  // namespace

MessagePattern::MessagePattern(std::size_t size, bool binary) : binary_(binary), prefix_(std::min(size, digits)) {
  payload_.resize(size);
  for (std::size_t i = 0; i < size; i++) {
    // Binary: every byte value. Text: printable ASCII.
    payload_[i] = static_cast<char>(binary ? (i * 131 + (i >> 8) + 17) & 0xff : ' ' + (i * 7 + (i >> 6)) % 95);
  }
  frame_.push_back(static_cast<char>(0x80 | op_code()));
  if (size < 126) {
    frame_.push_back(static_cast<char>(0x80 | size));
  } else {
    int bytes = size <= 0xffff ? 2 : 8;
    frame_.push_back(static_cast<char>(0x80 | (bytes == 2 ? 126 : 127)));
    for (int i = bytes - 1; i >= 0; i--) {
      frame_.push_back(static_cast<char>(size >> (8 * i)));
    }
  }
  frame_.append(reinterpret_cast<const char *>(mask), sizeof mask);
  header_ = frame_.size();
  for (std::size_t i = 0; i < size; i++) {
    frame_.push_back(static_cast<char>(payload_[i] ^ mask[i % 4]));
  }
}

void MessagePattern::append_frame(std::string &target, std::uint32_t sequence) const {
  std::size_t start = target.size() + header_;
  target.append(frame_);
  char *prefix = target.data() + start;
  write_digits(prefix, prefix_, sequence);
  for (std::size_t i = 0; i < prefix_; i++) {
    prefix[i] = static_cast<char>(prefix[i] ^ mask[i % 4]);
  }
}

bool MessagePattern::matches(std::uint32_t sequence, std::size_t offset, std::string_view piece) const {
  if (offset + piece.size() > payload_.size()) {
    return false;
  }
  if (offset < prefix_) {
    char expected[digits];
    write_digits(expected, prefix_, sequence);
    std::size_t length = std::min(piece.size(), prefix_ - offset);
    if (std::memcmp(expected + offset, piece.data(), length) != 0) {
      return false;
    }
    offset += length;
    piece.remove_prefix(length);
  }
  return piece.empty() || std::memcmp(payload_.data() + offset, piece.data(), piece.size()) == 0;
}

}  // namespace load
