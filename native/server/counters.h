// What a server counts, from its start.
#pragma once

#include <cstdint>

namespace nws {

/// Plain integers, written by the loop's thread alone. Bytes are payloads of whole messages: text as UTF-8,
/// before compression and without the heads of frames. Control frames count nowhere.
struct Counters {
  /// Accepted, whatever became of them.
  std::uint64_t tcp_connections = 0;
  std::uint64_t messages_received = 0;
  std::uint64_t bytes_received = 0;
  /// Given to a connection; a published message once for each.
  std::uint64_t messages_sent = 0;
  std::uint64_t bytes_sent = 0;
  /// Published, and left out for a subscriber whose queue was full.
  std::uint64_t publishes_dropped = 0;

  void received(std::uint64_t bytes) {
    messages_received++;
    bytes_received += bytes;
  }
  void sent(std::uint64_t bytes) {
    messages_sent++;
    bytes_sent += bytes;
  }
};

}  // namespace nws
