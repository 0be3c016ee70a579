// Compressed messages (permessage-deflate, RFC 7692): who owns the streams (deflate_streams.h), and what is
// kept from one message to the next.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "server/websocket/deflate_streams.h"
#include "server/websocket/scratch_buffer.h"

namespace nws {

/// What the sender of a message wants.
enum class Compress : std::uint8_t {
  /// From the route's threshold on.
  by_size,
  always,
  never,
};

/// How the messages of one connection are compressed.
struct CompressionOptions {
  /// Bytes from which on a message is compressed when its sender leaves it open.
  std::uint32_t threshold;
  /// Of zlib, 1 to 9, for compressors that belong to one connection.
  int memory_level;
};

/// The windows that were agreed on with one client. A window has 2 to the power of `bits` bytes (8 to 15);
/// with `takeover` it is kept from one message to the next.
struct CompressionWindows {
  struct Window {
    int bits;
    bool takeover;
  };
  Window compressor, decompressor;
};

/// permessage-deflate, as agreed on with one client.
struct CompressionAgreement {
  CompressionWindows windows;
  CompressionOptions options;
  /// The windows as the value of Sec-WebSocket-Extensions.
  std::string extension;
};

/// How long a compressed message may be that is to have at most this many bytes: what cannot be compressed
/// grows a little.
constexpr std::size_t max_compressed_length(std::size_t length) { return length + (length + 7) / 8 + 64; }

/// A message that waits to be inflated, or to be inflated further. Owns all that belongs to it alone.
struct CompressedMessage {
  std::string payload;
  int op_code;
  Inflater::Progress progress = {};
  ScratchBuffer inflated = {};
  /// What has begun it; null where the connection keeps a decompressor of its own, and before the first step.
  std::unique_ptr<Inflater> inflater = {};
  /// Of a decompressor that the connection keeps: its window before the first step, to begin anew from.
  std::string window = {};
  /// Of a text: bytes that are known to be valid UTF-8.
  std::uint32_t checked_text = 0;
  /// One of FrameTurn's, while it is inflated in steps.
  std::shared_ptr<void> place = {};
};

/// A text in fragments, as far as it was inflated to be checked. What was checked is not kept: the message is
/// inflated from its beginning when it is complete.
struct FragmentedText {
  /// Null where the connection keeps a decompressor of its own.
  std::unique_ptr<Inflater> inflater = {};
  /// Of a decompressor that the connection keeps: its window before the message, to begin anew from.
  std::string window = {};
  /// `written` counts the bytes of `incomplete` alone.
  Inflater::Progress progress = {};
  /// Bytes that were checked, without those of `incomplete`.
  std::size_t checked = 0;
  /// The first bytes of a character whose others are still to come.
  std::string incomplete = {};
  /// The last step has used up its share.
  bool has_more = false;
};

/// What all connections of a server have in common; lives on its loop's thread. Nothing is made before it is
/// needed.
class SharedCompression {
 public:
  /// Its user resets it after each message.
  Deflater &deflater(int window_bits);
  Inflater &inflater();
  /// The same, for a message that is not inflated in one step. Another takes its place meanwhile.
  std::unique_ptr<Inflater> take_inflater();
  void give_back(std::unique_ptr<Inflater> inflater);

  ScratchBuffer deflated, inflated;
  /// Of the decompressor that a connection keeps, before the message that is in `inflated`.
  ScratchBuffer window_memory;
  std::string_view window;
  /// Of the message that is in `inflated`.
  Inflater::Progress progress;

 private:
  static constexpr int max_window_bits = 15;
  std::array<std::unique_ptr<Deflater>, max_window_bits + 1> deflaters_;
  std::unique_ptr<Inflater> inflater_;
};

/// One connection's compression. What is returned is valid until the next call for any connection of the
/// server.
class Compression {
 public:
  /// `shared` outlives it.
  Compression(SharedCompression &shared, const CompressionWindows &agreed, const CompressionOptions &options)
      : shared_(shared), agreed_(agreed), options_(options) {}

  SharedCompression &shared() { return shared_; }
  /// Whether to compress a message of this length. An empty one has nothing to compress.
  bool wants(std::size_t length, Compress choice) const {
    return length > 0 && (choice == Compress::always || (choice == Compress::by_size && length >= options_.threshold));
  }
  /// The window of the shared compressor, where the connection has none of its own: connections with the same
  /// window can be sent the same bytes.
  std::optional<int> shared_window() const;

  /// A whole message. None where it would not become shorter, and may as well be sent as it is.
  std::optional<std::string_view> compress(std::string_view message);
  /// A fragment of a message. Must be sent compressed: the message is one deflate stream.
  std::string_view compress_fragment(std::string_view data, bool last);
  /// The first step of a message; the last one, where that is whole or has failed, which it is where `share`
  /// is no_share_limit.
  Inflated decompress(std::string_view message, std::size_t limit, std::size_t share);
  /// The message of which `decompress` has just given `more`.
  std::unique_ptr<CompressedMessage> put_off(std::string_view message, int op_code);
  /// A step of a message that was put off, the first one included. What is returned is the message's own.
  Inflated decompress(CompressedMessage &message, std::size_t limit, std::size_t share);
  /// Throws away what the message has inflated to: its next step is the first one again.
  void restart(CompressedMessage &message);

  /// A step of a text in fragments, of which `fragments` have come: to be called for each but the last. Gives
  /// the text behind what was checked, for a cost of about `share`, which may be 0.
  Inflated inflate_fragments(std::string_view fragments, std::size_t limit, std::size_t share);
  /// So many bytes of what `inflate_fragments` has just given were checked: the others belong to its next
  /// step.
  void keep_incomplete(std::string_view inflated, std::size_t checked);
  /// Whether `inflate_fragments` is to be called again, although no fragment has come.
  bool has_unchecked_fragments() const { return fragmented_text_ && fragmented_text_->has_more; }
  /// Nothing more is checked before the text is complete, and decompressed as a whole.
  void end_fragments();

 private:
  Deflater &own_deflater();
  Inflater &own_inflater();
  void keep_window(std::size_t share);

  SharedCompression &shared_;
  CompressionWindows agreed_;
  CompressionOptions options_;
  /// Where windows are kept, from the first message on.
  std::unique_ptr<Deflater> deflater_;
  std::unique_ptr<Inflater> inflater_;
  /// While a text in fragments is received.
  std::unique_ptr<FragmentedText> fragmented_text_;
};

}  // namespace nws
