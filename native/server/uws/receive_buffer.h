// The memory that µSockets reads a socket into.
#pragma once

#include <cstddef>

namespace nws {

struct ReceiveBuffer {
  /// Bytes that a socket is read for at once: CMakeLists.txt sets it for µSockets as well.
  static constexpr std::size_t length = LIBUS_RECV_BUFFER_LENGTH;
  /// Bytes of room in front of them and behind them, which µWebSockets' parsers read and write.
  static constexpr std::size_t padding = 32;
};

}  // namespace nws
