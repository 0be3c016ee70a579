#include "deflate.h"

#include <algorithm>
#include <cctype>
#include <stdexcept>

namespace load {

namespace {

/// Negative: no zlib header around the stream. 15: the largest window that DEFLATE has, and what the
/// extension means unless said.
constexpr int raw_window = -15;
/// What the extension takes away from the end of a message (RFC 7692, section 7.2.1): an empty stored block,
/// less its first bits.
constexpr unsigned char tail[4] = {0, 0, 0xff, 0xff};

Bytef *bytes_of(std::string_view text) { return reinterpret_cast<Bytef *>(const_cast<char *>(text.data())); }

}  // namespace

const char *const deflate_offer = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";

bool accepts_deflate(std::string_view response) {
  std::string lower(response);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  auto has = [&](const char *text) { return lower.find(text) != std::string::npos; };
  return has("permessage-deflate") && has("client_no_context_takeover") && has("server_no_context_takeover");
}

std::string deflate_text(std::string_view text) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, raw_window, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("zlib does not start to compress");
  }
  std::string compressed(deflateBound(&stream, static_cast<uLong>(text.size())) + 16, '\0');
  stream.next_in = bytes_of(text);
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = bytes_of(compressed);
  stream.avail_out = static_cast<uInt>(compressed.size());
  int result = deflate(&stream, Z_SYNC_FLUSH);
  compressed.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_OK || compressed.size() < sizeof tail) {
    throw std::runtime_error("zlib does not compress");
  }
  compressed.resize(compressed.size() - sizeof tail);
  return compressed;
}

std::string stored_block(std::string_view text) {
  if (text.size() > 0xffff) {
    throw std::invalid_argument("a stored block has room for 65,535 bytes");
  }
  auto low = static_cast<char>(text.size()), high = static_cast<char>(text.size() >> 8);
  std::string block{'\0', low, high, static_cast<char>(~low), static_cast<char>(~high)};
  return block.append(text);
}

Inflater::Inflater(std::size_t most) : text_(most + 1, '\0') {
  if (inflateInit2(&stream_, raw_window) != Z_OK) {
    throw std::runtime_error("zlib does not start to inflate");
  }
}

Inflater::~Inflater() { inflateEnd(&stream_); }

std::optional<std::string_view> Inflater::inflate(std::string_view compressed) {
  messages_++;
  bytes_ += compressed.size();
  inflateReset(&stream_);
  stream_.next_out = bytes_of(text_);
  stream_.avail_out = static_cast<uInt>(text_.size());
  for (std::string_view part : {compressed, std::string_view(reinterpret_cast<const char *>(tail), sizeof tail)}) {
    stream_.next_in = bytes_of(part);
    stream_.avail_in = static_cast<uInt>(part.size());
    int result = ::inflate(&stream_, Z_SYNC_FLUSH);
    if (result == Z_STREAM_END) {
      // A stream may have an end, too, behind which comes a byte of zeros at most (RFC 7692, section
      // 7.2.3.5).
      if (stream_.avail_in > 1) return std::nullopt;
      break;
    }
    // One byte more than expected has room: when that is taken, the message is too long.
    if (result != Z_OK || stream_.avail_in != 0 || stream_.avail_out == 0) return std::nullopt;
  }
  return std::string_view(text_.data(), text_.size() - stream_.avail_out);
}

}  // namespace load
