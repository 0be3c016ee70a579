// Raw deflate is asked for by negative window bits (zlib.h).
#include "server/websocket/deflate_streams.h"

#include <algorithm>
#include <limits>
#include <new>

namespace nws {

namespace {

/// What ends every compressed message and is not sent (RFC 7692, section 7.2.1).
constexpr std::string_view tail("\x00\x00\xff\xff", 4);
/// What is sent of an empty block, when its tail is left out (section 7.2.3.6).
constexpr std::string_view empty_block("\x00", 1);

/// zlib reads and does not write its input.
Bytef *input(std::string_view data) { return reinterpret_cast<Bytef *>(const_cast<char *>(data.data())); }

uInt capped(std::size_t size) { return static_cast<uInt>(std::min<std::size_t>(size, std::numeric_limits<uInt>::max())); }

/// There is no other reason: the parameters are right.
void expect_memory(int result) {
  if (result != Z_OK) {
    throw std::bad_alloc();
  }
}

}  // namespace

Deflater::Deflater(int window_bits, int memory_level) {
  // zlib refuses 8. With 9 it refers to at most 250 bytes back (deflate.h, MAX_DIST), which a window of 256
  // bytes holds.
  expect_memory(
      deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -std::max(window_bits, 9), memory_level, Z_DEFAULT_STRATEGY));
}

Deflater::~Deflater() { deflateEnd(&stream_); }

void Deflater::reset() { deflateReset(&stream_); }

std::string_view Deflater::deflate(std::string_view data, bool last, ScratchBuffer &out) {
  if (data.empty()) {
    return last ? empty_block : std::string_view();  // zlib would do nothing
  }
  constexpr std::size_t flush_room = 16;  // for the empty block at the end, which deflateBound does not count
  out.grow(std::max<std::size_t>(first_buffer_size, deflateBound(&stream_, static_cast<uLong>(data.length())) + flush_room), 0);
  stream_.next_in = input(data);
  stream_.avail_in = capped(data.length());
  std::size_t length = 0;
  for (;;) {
    stream_.next_out = reinterpret_cast<Bytef *>(out.data() + length);
    stream_.avail_out = capped(out.size() - length);
    uInt room = stream_.avail_out;
    ::deflate(&stream_, Z_SYNC_FLUSH);
    length += room - stream_.avail_out;
    if (stream_.avail_out > 0) {
      break;
    }
    out.grow(out.size() * 2, length);
  }
  return {out.data(), last ? length - tail.length() : length};
}

Inflater::Inflater(int window_bits) { expect_memory(inflateInit2(&stream_, -window_bits)); }

Inflater::~Inflater() { inflateEnd(&stream_); }

void Inflater::reset() { inflateReset(&stream_); }

std::string_view Inflater::window(ScratchBuffer &out) {
  constexpr std::size_t max_window = 32 * 1024;  // of deflate (RFC 1951, section 2)
  out.grow(max_window, 0);
  uInt length = 0;
  // Fails for an invalid stream alone.
  inflateGetDictionary(&stream_, reinterpret_cast<Bytef *>(out.data()), &length);
  return {out.data(), length};
}

void Inflater::reset_to(std::string_view window) {
  inflateReset(&stream_);
  if (!window.empty()) {
    // Cannot fail: a reset keeps the memory of the window.
    inflateSetDictionary(&stream_, input(window), static_cast<uInt>(window.length()));
  }
}

Inflated Inflater::inflate(std::string_view message, bool is_complete, std::size_t limit, std::size_t share, ScratchBuffer &out,
                           Progress &progress) {
  using State = Inflated::State;
  if (message.empty() && is_complete) {
    return {};  // not the form that RFC 7692 gives an empty message, but it can mean nothing else
  }
  // Bit 7 of data_type: the decoder stands between two blocks (zlib.h, inflate).
  constexpr int between_blocks = 128;
  // To begin a block with codes of its own takes zlib about a microsecond, as long as this many bytes do; a
  // message may consist of empty blocks, of 11 bytes each.
  constexpr std::size_t cost_of_block = 1024;
  const std::size_t most = limit + 1;  // the byte that is too many
  const std::size_t whole = message.length() + (is_complete ? tail.length() : 0);
  auto &[read, written, is_between_blocks] = progress;
  std::size_t cost = 0;
  out.grow(std::min(first_buffer_size, most), 0);
  for (;;) {
    if (written == out.size()) {
      // The rest of the message probably inflates as what has been read of it, and a sixteenth more.
      std::uint64_t estimate = read == 0 ? 0 : std::uint64_t{written} * whole / read;
      std::size_t size = static_cast<std::size_t>(std::min<std::uint64_t>(estimate + estimate / 16, most));
      out.grow(std::max(std::min(out.size() * 2, most), size), written);
    }
    std::string_view piece = read < message.length() ? message.substr(read) : tail.substr(read - message.length(), whole - read);
    stream_.next_in = input(piece);
    stream_.avail_in = capped(std::min(piece.length(), share - cost));
    stream_.next_out = reinterpret_cast<Bytef *>(out.data() + written);
    stream_.avail_out = capped(std::min(std::min(out.size(), most) - written, share - cost));
    uInt given = stream_.avail_in;
    uInt room = stream_.avail_out;
    int result = ::inflate(&stream_, Z_BLOCK);  // as far as the end of a block
    std::size_t done = (given - stream_.avail_in) + (room - stream_.avail_out);
    read += given - stream_.avail_in;
    written += room - stream_.avail_out;
    cost += done;
    if (written > limit) {
      return {State::too_long, {}, cost};
    }
    if (result == Z_STREAM_END) {
      inflateReset(&stream_);  // a final block, behind which others may follow (RFC 7692, section 7.2.3.5)
      cost += cost_of_block;
      if (is_complete && (read == message.length() || read == whole)) {
        return {State::whole, {out.data(), written}, cost};
      }
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      return {State::invalid, {}, cost};
    } else {
      if (done > 0) {
        is_between_blocks = stream_.data_type & between_blocks;
        cost += is_between_blocks ? cost_of_block : 0;
      }
      if (read == whole && (is_between_blocks || stream_.avail_out > 0)) {
        break;
      }
    }
    if (cost >= share) {
      return {State::more, {out.data(), written}, cost};
    }
  }
  if (!is_complete) {
    return {State::incomplete, {out.data(), written}, cost};
  }
  // The tail has ended a block, unless the data broke off in the middle of one.
  if (!is_between_blocks) {
    return {State::invalid, {}, cost};
  }
  return {State::whole, {out.data(), written}, cost};
}

}  // namespace nws
