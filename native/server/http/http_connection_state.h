// Lets a client send HTTP requests without waiting for the responses (RFC 9112, section 9.3.2). µWebSockets
// cuts a connection whose next request comes before the response to the last one, and this server responds
// after the parser has returned. So this class stands before the parser: it lets one request through at a
// time, and keeps the bytes that follow until the response has been written. Bodies are read here as well, so
// that their bytes can wait for the handler.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "server/http/request_body.h"
#include "server/http/request_deadlines.h"
#include "server/net/turns.h"
#include "server/uws/header_limit.h"
#include "server/uws/receive_buffer.h"

namespace nws {

/// Bytes that were received and are not done with. What is done with is taken from the front, at no more than
/// linear cost. The memory is no larger than `most` bytes, or what is held where that is more.
class HeldInput {
 public:
  /// Bytes that may wait before the client is not read any more.
  static constexpr std::size_t max_waiting = 64 * 1024;
  /// That, and one read.
  static constexpr std::size_t most = max_waiting + ReceiveBuffer::length;

  bool empty() const { return begin_ == bytes_.size(); }
  std::size_t size() const { return bytes_.size() - begin_; }
  std::size_t capacity() const { return bytes_.capacity(); }
  char *data() { return bytes_.data() + begin_; }
  std::string_view view() const { return std::string_view(bytes_).substr(begin_); }
  void append(const char *data, std::size_t length) {
    if (bytes_.size() + length > bytes_.capacity() && begin_ >= size()) {
      bytes_.erase(0, std::exchange(begin_, 0));
    }
    if (bytes_.size() + length > bytes_.capacity()) {
      std::string larger;  // a string that grows by itself takes twice its memory, however much that is
      larger.reserve(std::max(size() + length, std::min(2 * size(), most)));
      larger.append(view());
      bytes_ = std::move(larger);
      begin_ = 0;
    }
    bytes_.append(data, length);
  }
  void drop(std::size_t length) {
    begin_ += length;
    if (empty()) {
      clear();
    }
  }
  void clear() {
    bytes_ = {};
    begin_ = 0;
  }
  std::string take() {
    bytes_.erase(0, std::exchange(begin_, 0));
    return std::exchange(bytes_, {});
  }

 private:
  std::string bytes_;
  std::size_t begin_ = 0;
};

/// What the requests on one HTTP connection have to wait behind.
class HttpConnectionState {
 public:
  /// Bytes that may wait behind a request before the client is not read any more.
  static constexpr std::size_t max_held = HeldInput::max_waiting;
  /// Bytes of responses that may wait for the client before its next request is begun.
  static constexpr std::size_t max_unread = 64 * 1024;
  /// Bytes of a request's head.
  static constexpr std::size_t max_head = HeaderLimit::bytes;

  /// What one HTTP connection has to remember.
  struct Connection {
    /// Input that is not used up: an incomplete head, bytes behind the request that has no response yet, or
    /// bytes of its body that came although the handler had stopped reading.
    HeldInput held;
    /// Bytes of an incomplete head that the parser has seen already: it may find them wrong.
    std::size_t parsed = 0;
    /// Bytes in which the end of the head was looked for.
    std::size_t searched = 0;
    /// The peer, and this end of the connection.
    Endpoint remote, local;
    /// What the PROXY header has told; empty without one.
    std::string proxied_address;
    /// Of the request that was let through last.
    RequestBody body;
    /// The exchange of the request that was let through last, until its response is whole and its body has
    /// come; 0 if there is none.
    std::uint32_t exchange = 0;
    /// Tells this connection from an earlier one at the same address.
    std::uint32_t number = 0;
    Turns::RequestShare share;
    /// The next request waits for a turn of this connection.
    bool waits = false;
    /// Taken from the first byte of a request that does not come at once, until it is whole.
    RequestDeadlines::Place deadline;
    bool body_paused = false;
    /// So much waits behind a request that the client is not read.
    bool is_full = false;
    /// The client waits for "100 Continue" before it sends the body.
    bool expects_continue = false;
    /// The connection ends with the response to this request.
    bool is_last = false;
    /// It was taken over from another server with one request, which that server had its pace for.
    bool is_adopted = false;
    /// It has got its last response, and the client is to end the connection: whatever it still sends is
    /// thrown away.
    bool is_lingering = false;
    /// Its FIN has come, behind everything that it sent.
    bool has_ended = false;

    void forget_input() {
      held.clear();
      parsed = searched = 0;
      body = {};
      exchange = 0;
      body_paused = is_full = waits = expects_continue = false;
    }
  };

  /// Empty lines before a request are ignored (RFC 9112, section 2.2). µWebSockets takes them for half of
  /// one, and waits.
  static std::size_t empty_lines(std::string_view bytes) {
    std::size_t end = 0;
    while (bytes.compare(end, 2, "\r\n") == 0) {
      end += 2;
    }
    return end;
  }

  /// Whether the bytes may begin a request, or half of an empty line. A PROXY header does not, although
  /// version 1 looks like one.
  static bool may_begin_request(std::string_view bytes) {
    unsigned char first = static_cast<unsigned char>(bytes[0]);
    return ((first > ' ' && first < 127) || bytes == "\r") && !bytes.starts_with("PROXY ");
  }

  /// Whether this is the head of one request, from the first byte to the last.
  static bool is_whole_head(std::string_view bytes) {
    return !bytes.empty() && may_begin_request(bytes) && head_length(bytes) == bytes.size();
  }

  /// Bytes of the first request's head, the empty line included; 0 when it has not come yet. It does not end
  /// in the first `searched` bytes.
  static std::size_t head_length(std::string_view bytes, std::size_t searched = 0) {
    constexpr std::size_t overlap = 3;
    std::size_t end = bytes.find("\r\n\r\n", searched < overlap ? 0 : searched - overlap);
    return end == std::string_view::npos ? 0 : end + 4;
  }

  /// Whether a line ends without CR. None does so in the first `searched` bytes.
  static bool has_bare_lf(std::string_view head, std::size_t searched) {
    for (std::size_t at = head.find('\n', searched); at != std::string_view::npos; at = head.find('\n', at + 1)) {
      if (at == 0 || head[at - 1] != '\r') {
        return true;
      }
    }
    return false;
  }

  /// Whether the options of a Connection field, a list, have "close" among them (RFC 9110, section 7.6.1).
  static bool says_close(std::string_view options) {
    for (std::size_t end = 0; end != std::string_view::npos; options.remove_prefix(std::min(end + 1, options.size()))) {
      end = options.find(',');
      if (BodyFraming::equals(BodyFraming::trimmed(options.substr(0, end)), "close")) {
        return true;
      }
    }
    return false;
  }

  /// Whether a head has "Expect: 100-continue" (RFC 9110, section 10.1.1).
  static bool expects_continue(std::string_view head) {
    static constexpr std::string_view name = "\r\nexpect:";
    static constexpr std::string_view value = "100-continue";
    for (std::size_t line = head.find("\r\n"); line + name.size() <= head.size(); line = head.find("\r\n", line + 2)) {
      if (!BodyFraming::equals(head.substr(line, name.size()), name)) {
        continue;
      }
      std::size_t at = line + name.size();
      if (BodyFraming::equals(BodyFraming::trimmed(head.substr(at, head.find("\r\n", at) - at)), value)) {
        return true;
      }
    }
    return false;
  }
};

/// A copy of some bytes, with the room around them that µWebSockets' parsers read and write.
class Padded {
 public:
  explicit Padded(std::string_view bytes) : length_(bytes.length()), memory_(ReceiveBuffer::padding, '\0') {
    memory_.append(bytes).append(ReceiveBuffer::padding, '\0');
  }
  char *data() { return memory_.data() + ReceiveBuffer::padding; }
  int length() const { return static_cast<int>(length_); }

 private:
  std::size_t length_;
  std::string memory_;
};

}  // namespace nws
