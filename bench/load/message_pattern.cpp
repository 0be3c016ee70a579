#include "message_pattern.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "deflate.h"
#include "socket_io.h"

namespace load {

namespace {

/// A client must mask what it sends; any key costs the server the same.
constexpr unsigned char mask[4] = {0x9c, 0x2d, 0x51, 0xe7};

constexpr std::string_view json_before_digits = R"({"sequence":")";

/// Price quotes as a server might send them: names that repeat and numbers that do not, `size` bytes in all.
std::string json_text(std::size_t size, std::size_t digits) {
  std::uint32_t random = 1;
  auto next = [&random](std::uint32_t below) {
    random = random * 1664525 + 1013904223;  // as in Numerical Recipes; the low bits are the bad ones
    return (random >> 16) % below;
  };
  std::string text = std::string(json_before_digits) + std::string(digits, '0') + R"(","quotes":[)";
  const std::string_view before_note = R"(],"note":")", end = R"("})";
  for (const char *comma = "";; comma = ",") {
    std::string quote = std::string(comma) + R"({"symbol":")";
    for (int i = 0; i < 4; i++) {
      quote.push_back(static_cast<char>('A' + next(26)));
    }
    quote += R"(","bid":)" + std::to_string(100 + next(900)) + "." + std::to_string(10 + next(90)) + R"(,"volume":)" +
             std::to_string(next(60000)) + R"(,"open":)" + (next(4) ? "true" : "false") + "}";
    if (text.size() + quote.size() + before_note.size() + end.size() > size) {
      break;
    }
    text += quote;
  }
  text += before_note;
  if (text.size() + end.size() > size) {
    throw std::invalid_argument("--size is too small for --json");
  }
  while (text.size() + end.size() < size) {
    text.push_back(next(6) ? static_cast<char>('a' + next(26)) : ' ');
  }
  return text.append(end);
}

}  // namespace

MessagePattern::MessagePattern(const Options &options) : content_(options.content) {
  std::size_t size = options.size;
  digits_ = content_ == Content::json ? most_digits : std::min(size, most_digits);
  digits_at_ = content_ == Content::json ? json_before_digits.size() : 0;
  if (content_ == Content::json) {
    payload_ = json_text(size, digits_);
  } else {
    payload_.resize(size);
    for (std::size_t i = 0; i < size; i++) {
      // Binary: every byte value. Text: printable ASCII.
      payload_[i] =
          static_cast<char>(content_ == Content::binary ? (i * 131 + (i >> 8) + 17) & 0xff : ' ' + (i * 7 + (i >> 6)) % 95);
    }
  }
  if (options.socket_io) {
    std::replace_if(
        payload_.begin(), payload_.end(), [](char c) { return c == '"' || c == '\\'; }, '.');
    payload_.insert(0, socket_io::event_begin).append(socket_io::event_end);
    digits_at_ = socket_io::event_begin.size();
  }
  if (options.deflate) {
    std::string_view before = std::string_view(payload_).substr(0, digits_at_ + digits_);
    std::string sent = stored_block(before);
    frame_digits_at_ = sent.size() - digits_;
    make_frame(sent + deflate_text(std::string_view(payload_).substr(before.size())), true);
  } else {
    frame_digits_at_ = digits_at_;
    make_frame(payload_, false);
  }
}

/// RFC 6455, section 5.2; the reserved bit that says "compressed" is RFC 7692's, section 6.
void MessagePattern::make_frame(const std::string &sent, bool compressed) {
  std::size_t size = sent.size();
  frame_.push_back(static_cast<char>(0x80 | (compressed ? 0x40 : 0) | op_code()));
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
    frame_.push_back(static_cast<char>(sent[i] ^ mask[i % 4]));
  }
}

/// Lowest digit first: a message that is too short for all of them still has those that change most.
void MessagePattern::write_digits(char *target, std::uint32_t sequence) const {
  for (std::size_t i = 0; i < digits_; i++) {
    target[i] = "0123456789abcdef"[sequence & 0xf];
    sequence >>= 4;
  }
}

void MessagePattern::append_frame(std::string &target, std::uint32_t sequence) const {
  std::size_t start = target.size() + header_ + frame_digits_at_;
  target.append(frame_);
  char *written = target.data() + start;
  write_digits(written, sequence);
  for (std::size_t i = 0; i < digits_; i++) {
    written[i] = static_cast<char>(written[i] ^ mask[(frame_digits_at_ + i) % 4]);
  }
}

bool MessagePattern::matches(std::uint32_t sequence, std::size_t offset, std::string_view piece) const {
  std::size_t end = offset + piece.size();
  if (end > payload_.size()) {
    return false;
  }
  // What of the piece lies from `from` on, as far as `expected` goes.
  auto same = [&](std::size_t from, std::string_view expected) {
    std::size_t first = std::max(offset, from), last = std::min(end, from + expected.size());
    return first >= last || std::memcmp(piece.data() + (first - offset), expected.data() + (first - from), last - first) == 0;
  };
  char expected[most_digits];
  write_digits(expected, sequence);
  std::size_t rest = digits_at_ + digits_;
  return same(0, {payload_.data(), digits_at_}) && same(digits_at_, {expected, digits_}) &&
         same(rest, {payload_.data() + rest, payload_.size() - rest});
}

}  // namespace load
