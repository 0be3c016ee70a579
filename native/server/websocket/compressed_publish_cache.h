// The compressed forms of messages that were published and wait to be sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "server/websocket/compression.h"

namespace nws {

/// Compresses what is published once for all connections that share a compressor, rather than once for each
/// subscriber.
class CompressedPublishCache {
 public:
  explicit CompressedPublishCache(SharedCompression &shared) : shared_(shared) {}

  /// The message, compressed with this window; none where that would not make it shorter. `message` is the
  /// same for the same number, until `clear`. Valid until the next call.
  std::optional<std::string_view> find(std::uint32_t number, int window_bits, std::string_view message);
  /// The numbers may be used again.
  void clear();

 private:
  /// Bytes, and their number. A form that was thrown away is made once more when it is needed.
  static constexpr std::size_t max_kept = 4 * 1024 * 1024;
  static constexpr std::size_t max_forms = 16 * 1024;

  SharedCompression &shared_;
  std::unordered_map<std::uint64_t, std::optional<std::string>> forms_;
  std::size_t kept_ = 0;
};

}  // namespace nws
