// Close codes: RFC 6455, section 7.4.1, and IANA's registry for what came later. src/websocket/close-codes.ts
// says the same in TypeScript.
#pragma once

#include <cstdint>

namespace nws::close_code {

constexpr std::uint16_t protocol_error = 1002;
/// The Close frame had no code.
constexpr std::uint16_t no_status_received = 1005;
/// There was no Close frame.
constexpr std::uint16_t abnormal_closure = 1006;
constexpr std::uint16_t invalid_payload = 1007;
constexpr std::uint16_t message_too_big = 1009;

/// Whether an endpoint may send this one (section 7.4, and the registry for 1012 to 1014).
constexpr bool may_be_sent(std::uint16_t code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

}  // namespace nws::close_code
