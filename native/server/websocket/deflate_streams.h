// zlib's streams, as permessage-deflate uses them (RFC 7692).
//
// Our own rather than µWebSockets' streams, which cannot tell a bomb from broken data, do not know of final
// blocks, and write behind what they are given.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "server/websocket/scratch_buffer.h"

namespace nws {

/// Bytes of a buffer to begin with, for what is compressed or inflated.
constexpr std::size_t first_buffer_size = 16 * 1024;

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

}  // namespace nws
