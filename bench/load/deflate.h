// permessage-deflate (RFC 7692) without context takeover: each message is compressed for itself.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace load {

/// The extension that is offered to the server. Both sides forget each message, as a server with shared
/// windows does for all clients.
extern const char *const deflate_offer;

/// Whether an answer to the upgrade, headers and all, agrees to that.
bool accepts_deflate(std::string_view response);

/// Compressed as browsers do it (zlib's default level), without the four bytes at the end that the extension
/// takes away.
std::string deflate_text(std::string_view text);

/// A DEFLATE block that holds `text` as it is (RFC 1951, section 3.2.4), so that it can be overwritten in
/// place. Others may follow.
std::string stored_block(std::string_view text);

/// Inflates whole messages, for all connections, one after the other.
class Inflater {
 public:
  /// `most` is the length of the longest message. Throws std::runtime_error.
  explicit Inflater(std::size_t most);
  ~Inflater();
  Inflater(const Inflater &) = delete;
  Inflater &operator=(const Inflater &) = delete;

  /// The text, valid until the next call. Nothing when this is not a whole DEFLATE stream, or it is longer
  /// than expected.
  std::optional<std::string_view> inflate(std::string_view compressed);

  /// Bytes per message so far, compressed; 0 when there were none.
  double mean_bytes() const { return messages_ ? static_cast<double>(bytes_) / static_cast<double>(messages_) : 0; }

 private:
  z_stream stream_{};
  std::string text_;
  std::uint64_t messages_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace load
