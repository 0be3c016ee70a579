// A message that is sent compressed, where that made it shorter.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "server/uws/upstream.h"
#include "server/websocket/closing_handshake.h"
#include "server/websocket/op_code.h"

namespace nws::frames {

/// Sends a whole message in its compressed form, if it has one. Returns how many bytes that is.
template <bool SSL>
std::size_t send_compressed(WebSocket<SSL> *ws, std::string_view message, std::optional<std::string_view> form, OpCode op_code) {
  ws->send(form.value_or(message), form ? compressed(op_code) : upstream(op_code));
  return form.value_or(message).length();
}

}  // namespace nws::frames
