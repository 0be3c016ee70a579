// Numeric addresses as text.
#pragma once

#include <uv.h>

#include <charconv>
#include <string>
#include <string_view>

namespace nws {

/// An address as text, from its 4 or 16 bytes; empty for anything else. An IPv4 address in an IPv6 one
/// appears as IPv4.
inline std::string address_text(std::string_view bytes) {
  // ::ffff:0:0/96, RFC 4291, section 2.5.5.2.
  static constexpr char mapped[] = "\0\0\0\0\0\0\0\0\0\0\xff\xff";
  char text[46] = "";
  if (bytes.length() == 16 && bytes.substr(0, 12) == std::string_view(mapped, 12)) {
    bytes.remove_prefix(12);
  }
  if (bytes.length() == 4) {
    char *end = text;
    for (char byte : bytes) {
      end = std::to_chars(end, end + 3, static_cast<unsigned char>(byte)).ptr;
      *end++ = '.';
    }
    return {text, end - 1};
  }
  if (bytes.length() == 16) {
    uv_inet_ntop(AF_INET6, bytes.data(), text, sizeof text);
  }
  return text;
}

}  // namespace nws
