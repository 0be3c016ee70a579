// The body of an HTTP request: where it ends, and what of the bytes on the wire is its content (RFC 9112,
// sections 6 and 7).
//
// µWebSockets' own reader of chunks is not used: it takes a chunk extension for a part of the size, drops any
// two bytes after the last chunk, and so may see the next request elsewhere than a proxy in front of it does.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace nws {

/// What the head of a request says of its body.
struct BodyFraming {
  enum class Kind {
    none,
    length,
    chunked,
    /// The end of the request is uncertain: it must be the last request of its connection (RFC 9112, section
    /// 6.3).
    doubtful,
  };
  Kind kind = Kind::none;
  std::uint64_t length = 0;

  /// From a whole head, the empty line included. Whether the rest of it makes sense is for the parser to
  /// judge, but for three things that it is wrong about: a field without a name is the end of the fields to
  /// it, a CR without LF the end of what has come, and DEL a character like others (RFC 9110, section 5.5).
  static BodyFraming of(std::string_view head) {
    BodyFraming framing;
    std::size_t lengths = 0, codings = 0;
    bool good = !has_lone_cr(head) && head.find(del) == std::string_view::npos;
    for (std::size_t line = head.find("\r\n") + 2; line + 2 < head.size(); line = head.find("\r\n", line) + 2) {
      std::string_view field = head.substr(line, head.find("\r\n", line) - line);
      std::size_t colon = std::min(field.find(':'), field.size());
      std::string_view value = trimmed(field.substr(std::min(colon + 1, field.size())));
      good = good && colon > 0;
      if (equals(field.substr(0, colon), "content-length")) {
        lengths++;
        good = good && read_length(value, framing.length);
      } else if (equals(field.substr(0, colon), "transfer-encoding")) {
        codings++;
        good = good && equals(value, "chunked");
      }
    }
    if (!good || lengths + codings > 1) {
      framing.kind = Kind::doubtful;
    } else if (codings) {
      framing.kind = Kind::chunked;
    } else if (framing.length > 0) {
      framing.kind = Kind::length;
    }
    return framing;
  }

  /// Compares without regard to the case of ASCII letters.
  static bool equals(std::string_view text, std::string_view lower_case) {
    return text.size() == lower_case.size() && std::equal(text.begin(), text.end(), lower_case.begin(), [](char a, char b) {
             return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) == b;
           });
  }
  static std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
      text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
      text.remove_suffix(1);
    }
    return text;
  }

 private:
  friend class RequestBody;
  static constexpr char del = '\x7f';

  static bool has_lone_cr(std::string_view head) {
    for (std::size_t at = head.find('\r'); at != std::string_view::npos; at = head.find('\r', at + 1)) {
      if (head.substr(at + 1, 1) != "\n") {
        return true;
      }
    }
    return false;
  }
  static bool read_length(std::string_view digits, std::uint64_t &length) {
    length = 0;
    for (char digit : digits) {
      if (digit < '0' || digit > '9') {
        return false;
      }
      length = length * 10 + static_cast<std::uint64_t>(digit - '0');
    }
    return !digits.empty() && digits.size() <= 18;  // of 19 digits not all fit into 63 bits
  }
};

/// Tells the content of one body from its framing, as the bytes come.
class RequestBody {
 public:
  RequestBody() = default;
  explicit RequestBody(const BodyFraming &framing)
      : left_(framing.length),
        state_(framing.kind == BodyFraming::Kind::length    ? State::content
               : framing.kind == BodyFraming::Kind::chunked ? State::size_first
                                                            : State::complete),
        is_chunked_(framing.kind == BodyFraming::Kind::chunked) {}

  bool complete() const { return state_ == State::complete; }
  /// The chunks make no sense: nothing that follows does.
  bool failed() const { return state_ == State::failed; }
  bool is_chunked() const { return is_chunked_; }

  struct Progress {
    /// Bytes of content, which are now at the beginning of the data.
    std::size_t content;
    /// Bytes of the data that are done with; what is behind them belongs to the next request.
    std::size_t consumed;
  };
  Progress read(char *data, std::size_t size) {
    Progress progress{0, 0};
    while (progress.consumed < size && state_ != State::complete && state_ != State::failed) {
      if (state_ == State::content) {
        auto length = static_cast<std::size_t>(std::min<std::uint64_t>(left_, size - progress.consumed));
        if (progress.content != progress.consumed) {
          std::memmove(data + progress.content, data + progress.consumed, length);
        }
        progress.content += length;
        progress.consumed += length;
        left_ -= length;
        if (left_ == 0) {
          state_ = is_chunked_ ? State::content_cr : State::complete;
        }
      } else {
        state_ = next(data[progress.consumed++]);
      }
    }
    return progress;
  }

 private:
  enum class State : std::uint8_t {
    complete,
    failed,
    content,
    content_cr,
    content_lf,
    size_first,
    size,
    extension,
    size_lf,
    trailer_first,
    trailer_name,
    trailer,
    trailer_lf,
    end_lf,
  };

  /// Chunk extensions and trailers are dropped; more of them than of a request's head is an attack.
  static constexpr std::uint32_t max_dropped = 16 * 1024;

  State next(char byte) {
    switch (state_) {
      case State::content_cr:
        return byte == '\r' ? State::content_lf : State::failed;
      case State::content_lf:
        return byte == '\n' ? State::size_first : State::failed;
      case State::size_first:
        return add_digit(byte) ? State::size : State::failed;
      case State::size:
        if (add_digit(byte)) {
          return State::size;
        }
        return byte == '\r' ? State::size_lf : byte == ';' ? State::extension : State::failed;
      case State::extension:
        return byte == '\r' ? State::size_lf : drop(byte, State::extension);
      case State::size_lf:
        return byte != '\n' ? State::failed : left_ ? State::content : State::trailer_first;
      case State::trailer_first:
        return byte == '\r' ? State::end_lf : is_token(byte) ? drop(byte, State::trailer_name) : State::failed;
      case State::trailer_name:
        return byte == ':' || is_token(byte) ? drop(byte, byte == ':' ? State::trailer : State::trailer_name) : State::failed;
      case State::trailer:
        return byte == '\r' ? State::trailer_lf : drop(byte, State::trailer);
      case State::trailer_lf:
        return byte == '\n' ? State::trailer_first : State::failed;
      case State::end_lf:
        return byte == '\n' ? State::complete : State::failed;
      case State::complete:
      case State::failed:
      case State::content:
        break;
    }
    return State::failed;
  }

  State drop(char byte, State state) {
    bool is_control = (static_cast<unsigned char>(byte) < ' ' && byte != '\t') || byte == BodyFraming::del;
    return is_control || ++dropped_ > max_dropped ? State::failed : state;
  }

  /// Of a name (RFC 9110, section 5.6.2).
  static bool is_token(char byte) {
    constexpr std::string_view others = "!#$%&'*+-.^_`|~";
    char lower = static_cast<char>(byte | 0x20);
    return (lower >= 'a' && lower <= 'z') || (byte >= '0' && byte <= '9') || others.find(byte) != std::string_view::npos;
  }

  bool add_digit(char byte) {
    unsigned digit = byte >= '0' && byte <= '9'   ? static_cast<unsigned>(byte - '0')
                     : byte >= 'a' && byte <= 'f' ? static_cast<unsigned>(byte - 'a') + 10
                     : byte >= 'A' && byte <= 'F' ? static_cast<unsigned>(byte - 'A') + 10
                                                  : 16;
    if (digit == 16 || left_ >> 59) {
      return false;
    }
    left_ = left_ * 16 + digit;
    return true;
  }

  /// Of the body, or of the chunk.
  std::uint64_t left_ = 0;
  std::uint32_t dropped_ = 0;
  State state_ = State::complete;
  bool is_chunked_ = false;
};

}  // namespace nws
