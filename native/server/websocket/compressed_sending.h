// A message that is sent compressed, where that made it shorter.
#pragma once

#include <optional>
#include <string_view>

#include "server/uws/upstream.h"
#include "server/websocket/closing_handshake.h"
#include "server/websocket/op_code.h"

namespace nws::frames {

/// Sends a whole message in its compressed form, if it has one.
template <bool SSL>
void send_compressed(WebSocket<SSL> *ws, std::string_view message, std::optional<std::string_view> form, OpCode op_code) {
  if (form) {
    ws->send(*form, compressed(op_code));
  } else {
    ws->send(message, upstream(op_code));
  }
}

}  // namespace nws::frames
