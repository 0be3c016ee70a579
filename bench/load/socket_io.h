// The protocol of socket.io 4 (Engine.IO 4 in WebSocket messages), as far as an echo of events needs it. The
// server's pings are not answered: it has to be set so that none comes.
#pragma once

#include <string_view>

namespace load::socket_io {

/// Where its WebSocket is, without any HTTP requests before.
inline constexpr std::string_view path = "/socket.io/?EIO=4&transport=websocket";

/// The server's first message starts so. The client then asks for the default namespace, and the server's
/// consent starts as that question does.
inline constexpr std::string_view opened = "0{";
inline constexpr std::string_view connect = "40";

/// An event with one text as its argument, which must not need escapes in JSON.
inline constexpr std::string_view event_begin = "42[\"message\",\"";
inline constexpr std::string_view event_end = "\"]";

}  // namespace load::socket_io
