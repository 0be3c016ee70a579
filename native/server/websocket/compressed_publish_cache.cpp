#include "server/websocket/compressed_publish_cache.h"

namespace nws {

std::optional<std::string_view> CompressedPublishCache::find(std::uint32_t number, int window_bits, std::string_view message) {
  if (kept_ > max_kept || forms_.size() > max_forms) {
    clear();
  }
  auto [found, added] = forms_.try_emplace(static_cast<std::uint64_t>(number) << 4 | static_cast<unsigned>(window_bits));
  if (added) {
    Deflater &deflater = shared_.deflater(window_bits);
    std::string_view compressed = deflater.deflate(message, true, shared_.deflated);
    deflater.reset();
    if (compressed.length() < message.length()) {
      found->second = compressed;
      kept_ += compressed.length();
    }
    shared_.deflated.trim();
  }
  return found->second;
}

void CompressedPublishCache::clear() {
  // Of an empty one, too, the table would be written to; and this runs in every turn.
  if (!forms_.empty()) {
    forms_.clear();
  }
  kept_ = 0;
}

}  // namespace nws
