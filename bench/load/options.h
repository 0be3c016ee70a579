// What the load generator is asked to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace load {

enum class Mode {
  /// Every connection sends, and checks what comes back.
  echo,
  /// One connection publishes, all others check what they get.
  fan_out,
  /// Connections are opened and cut, again and again.
  connect,
  /// Connections are opened and held.
  idle,
};

enum class Content {
  /// Every byte value.
  binary,
  /// Printable ASCII.
  text,
  /// A text that is an object with numbers and names in it.
  json,
};

struct Options {
  Mode mode = Mode::echo;
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  bool tls = false;
  /// The only TLS 1.3 cipher suite offered, so that every server does the same work.
  std::string cipher_suite = "TLS_AES_128_GCM_SHA256";
  /// For fan_out: the subscribers, beside which there is one publisher.
  std::uint32_t connections = 200;
  /// Bytes of a message.
  std::size_t size = 20;
  Content content = Content::binary;
  /// Offers permessage-deflate without context takeover, sends every message compressed, and insists on
  /// compressed answers.
  bool deflate = false;
  /// Text messages are events of socket.io's protocol. Echo only.
  bool socket_io = false;
  /// Messages on their way, for each connection (echo) or in all (fan_out).
  std::uint32_t depth = 1;
  /// Seconds before anything is measured, and seconds that are.
  double warm_up = 0.3;
  double seconds = 1;
  /// Messages each second in all, sent when they are due whatever the server does; 0: as soon as the last one
  /// is back. Echo only.
  double rate = 0;
  /// Counts publications that have reached every subscriber, rather than deliveries. fan_out only.
  bool whole = false;
  /// The process whose CPU time is taken at the start and the end of what is measured; 0: none.
  int watched_process = 0;
};

/// Throws std::invalid_argument, whose text is for the user.
Options parse_options(int count, char **arguments);

extern const char *const usage;

}  // namespace load
