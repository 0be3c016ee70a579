// Compressed messages (permessage-deflate, RFC 7692): zlib's streams, who owns them, and what is kept from one message to the
// next.
//
// Our own rather than µWebSockets' streams, which cannot tell a bomb from broken data, do not know of final blocks, and write
// behind what they are given.
#pragma once

#include <zlib.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace nws {

/// What the sender of a message wants.
enum class Compress : std::uint8_t {
  /// From the route's threshold on.
  by_size,
  always,
  never,
};

/// What one route asks of compression.
struct CompressionOptions {
  /// Bytes from which on a message is compressed when its sender leaves it open.
  std::uint32_t threshold;
  /// Of zlib, 1 to 9, for compressors that belong to one connection.
  int memory_level;
};

/// What was agreed on with one client. A window has 2 to the power of `bits` bytes (8 to 15); with `takeover` it is kept from one
/// message to the next.
struct CompressionAgreement {
  struct Window {
    int bits;
    bool takeover;
  };
  Window compressor, decompressor;
};

/// How long a compressed message may be that is to have at most this many bytes: what cannot be compressed grows a little.
constexpr std::size_t max_compressed_length(std::size_t length) { return length + (length + 7) / 8 + 64; }

/// Memory that is used again and again, and not initialised.
class ScratchBuffer {
 public:
  char *data() { return memory_.get(); }
  std::size_t size() const { return size_; }
  /// Makes room for so many bytes, and keeps the first `used` ones.
  void grow(std::size_t size, std::size_t used);
  /// Whoever has used what is in here calls this: what a large message took is given back.
  void trim();

 private:
  std::unique_ptr<char[]> memory_;
  std::size_t size_ = 0;
};

/// A compressor. zlib keeps a pointer to its stream, which therefore stays where it is.
class Deflater {
 public:
  Deflater(int window_bits, int memory_level);
  ~Deflater();
  Deflater(const Deflater &) = delete;
  Deflater &operator=(const Deflater &) = delete;

  /// Compresses a message, or a fragment of one; `last` ends the message. The result is in `out`.
  std::string_view deflate(std::string_view data, bool last, ScratchBuffer &out);
  /// Forgets everything before.
  void reset();

 private:
  z_stream stream_{};
};

struct Inflated {
  enum class Failure { none, too_long, invalid };
  Failure failure = Failure::none;
  std::string_view data;
};

/// A decompressor.
class Inflater {
 public:
  explicit Inflater(int window_bits);
  ~Inflater();
  Inflater(const Inflater &) = delete;
  Inflater &operator=(const Inflater &) = delete;

  /// Decompresses a whole message. Writes at most one byte more than `limit` into `out`. After a failure, the stream is good for
  /// nothing until it is reset.
  Inflated inflate(std::string_view data, std::size_t limit, ScratchBuffer &out);
  void reset();

 private:
  z_stream stream_{};
};

/// What all connections of a server have in common; lives on its loop's thread. Nothing is made before it is needed.
class SharedCompression {
 public:
  /// Its user resets it after each message.
  Deflater &deflater(int window_bits);
  Inflater &inflater();

  ScratchBuffer deflated, inflated;

 private:
  static constexpr int max_window_bits = 15;
  std::array<std::unique_ptr<Deflater>, max_window_bits + 1> deflaters_;
  std::unique_ptr<Inflater> inflater_;
};

/// One connection's compression. What is returned is valid until the next call for any connection of the server.
class Compression {
 public:
  /// `shared` outlives it.
  Compression(SharedCompression &shared, const CompressionAgreement &agreed, const CompressionOptions &options)
      : shared_(shared), agreed_(agreed), options_(options) {}

  SharedCompression &shared() { return shared_; }
  /// Whether to compress a message of this length. An empty one has nothing to compress.
  bool wants(std::size_t length, Compress choice) const {
    return length > 0 && (choice == Compress::always || (choice == Compress::by_size && length >= options_.threshold));
  }
  /// The window of the shared compressor, where the connection has none of its own: everybody who has the same gets the same.
  std::optional<int> shared_window() const;

  /// A whole message. None where it would not become shorter, and may as well be sent as it is.
  std::optional<std::string_view> compress(std::string_view message);
  /// A fragment of a message, which must be sent in this form: earlier fragments may be missing nothing.
  std::string_view compress_fragment(std::string_view data, bool last);
  /// A whole message.
  Inflated decompress(std::string_view message, std::size_t limit);

 private:
  Deflater &own_deflater();

  SharedCompression &shared_;
  CompressionAgreement agreed_;
  CompressionOptions options_;
  /// Where windows are kept, from the first message on.
  std::unique_ptr<Deflater> deflater_;
  std::unique_ptr<Inflater> inflater_;
};

/// Compresses what is published once for everybody who shares a compressor, rather than once for each subscriber.
class PublishedForms {
 public:
  explicit PublishedForms(SharedCompression &shared) : shared_(shared) {}

  /// The message, compressed with this window; none where that would not make it shorter. `message` is the same for the same
  /// number, until `clear`. Valid until the next call.
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
