// Op codes of frames (RFC 6455, section 5.2), without µWebSockets.
#pragma once

#include <cstdint>

namespace nws {

/// The values are those of the wire, and of uWS::OpCode.
enum class OpCode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

}  // namespace nws
