// Whether text is UTF-8, as it comes (RFC 6455, section 8.1). Internal to websocket_server.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/uws/upstream.h"

namespace nws::frames {

inline bool is_valid_utf8(std::string_view text) {
  return uWS::protocol::isValidUtf8(reinterpret_cast<unsigned char *>(const_cast<char *>(text.data())), text.length());
}

/// Bytes at the end of a text that begin a character and are not the whole of it: at most 3 (RFC 3629,
/// section 3).
inline std::size_t incomplete_tail(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.length()); back++) {
    auto byte = static_cast<unsigned char>(text[text.length() - back]);
    if ((byte & 0xc0) != 0x80) {  // not a continuation byte
      std::size_t needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
      return needed > back ? back : 0;
    }
  }
  return 0;
}

/// Whether some bytes can begin a character; the shortest and the longest continuation tell.
inline bool may_begin_character(std::string_view bytes) {
  if (bytes.empty()) {
    return true;
  }
  auto first = static_cast<unsigned char>(bytes[0]);
  std::size_t needed = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  for (char filler : {'\x80', '\xbf'}) {
    std::string character(bytes);
    character.append(needed - bytes.length(), filler);
    if (is_valid_utf8(character)) {
      return true;
    }
  }
  return false;
}

/// Checks what has come of a text message since `checked`. A character that is not complete yet is looked at
/// again.
inline bool check_text(std::string_view text, std::uint32_t &checked, bool is_whole) {
  std::string_view fresh = text.substr(checked);
  std::string_view tail = is_whole ? std::string_view() : fresh.substr(fresh.length() - incomplete_tail(fresh));
  fresh.remove_suffix(tail.length());
  checked += static_cast<std::uint32_t>(fresh.length());
  return is_valid_utf8(fresh) && may_begin_character(tail);
}

}  // namespace nws::frames
