// Texts to compress, and connections that do it: no sockets, no loop.
#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "server/websocket/compression.h"

namespace test {

inline constexpr std::size_t no_limit = 64 << 20;
inline constexpr std::size_t no_share = 256 << 20;
inline const std::string tail("\x00\x00\xff\xff", 4);

inline std::uint32_t any() {
  static std::mt19937 generator(7692);
  return static_cast<std::uint32_t>(generator());
}

inline std::string noise(std::size_t size) {
  std::string bytes(size, '\0');
  for (char &byte : bytes) {
    byte = static_cast<char>(any());
  }
  return bytes;
}

/// Compresses well, but not to nothing.
inline std::string words(std::size_t size) {
  std::string text;
  while (text.size() < size) {
    text += "word " + std::to_string(any() % 1000) + ", ";
  }
  text.resize(size);
  return text;
}

inline nws::Compression connection(nws::SharedCompression &shared, int bits, bool takeover) {
  nws::CompressionWindows agreed{.compressor = {bits, takeover}, .decompressor = {bits, takeover}};
  return nws::Compression(shared, agreed, {.threshold = 100, .memory_level = 5});
}

}  // namespace test
