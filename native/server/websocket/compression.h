// Compressed messages (permessage-deflate, RFC 7692): zlib's streams, who owns them, and what is kept from
// one message to the next.
//
// Our own rather than µWebSockets' streams, which cannot tell a bomb from broken data, do not know of final
// blocks, and write behind what they are given.
#pragma once

#include <zlib.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "server/websocket/scratch_buffer.h"

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
  /// The same as the value of Sec-WebSocket-Extensions.
  std::string extension;
};

/// How long a compressed message may be that is to have at most this many bytes: what cannot be compressed
/// grows a little.
constexpr std::size_t max_compressed_length(std::size_t length) { return length + (length + 7) / 8 + 64; }

/// The share of a message that is inflated in one step, whatever it costs.
constexpr std::size_t no_share_limit = SIZE_MAX;

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
  enum class State {
    whole,
    /// The share is used up: the message goes on with another one.
    more,
    /// All that has come of the message is inflated, and it is not complete.
    incomplete,
    too_long,
    invalid,
  };
  State state = State::whole;
  /// All that the message has inflated to so far, unless it has failed.
  std::string_view data;
  /// What this step has cost: bytes that were read or written, and some for each block (RFC 1951).
  std::size_t cost = 0;
};

/// A decompressor.
class Inflater {
 public:
  /// How far one message has come.
  struct Progress {
    /// Bytes of the message, and of the tail that every message has and none is sent with.
    std::size_t read = 0;
    std::size_t written = 0;
    /// What has been read ends with a block.
    bool is_between_blocks = false;
  };

  explicit Inflater(int window_bits);
  ~Inflater();
  Inflater(const Inflater &) = delete;
  Inflater &operator=(const Inflater &) = delete;

  /// Decompresses a message from `progress` on, for a cost of about `share`. Writes at most one byte more
  /// than `limit` into `out`, which begins with what earlier steps have written. A message that is not
  /// complete may go on behind what is given. After a failure, the stream is good for nothing until it is
  /// reset.
  Inflated inflate(std::string_view message, bool is_complete, std::size_t limit, std::size_t share, ScratchBuffer &out,
                   Progress &progress);
  void reset();
  /// What messages refer to: the end of what was inflated last, at most 32 KiB. Copied into `out`.
  std::string_view window(ScratchBuffer &out);
  /// Begins anew behind what `window` gave.
  void reset_to(std::string_view window);

 private:
  z_stream stream_{};
};

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
