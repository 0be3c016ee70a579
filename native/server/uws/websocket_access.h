// µWebSockets' WebSockets of our SocketData, and what a derived class or a context opens of them. Part of
// upstream.h.
//
// At the next release: WebSocketProtocol.h, formatMessage: the op code becomes part of the first byte as it
// is; WebSocket.h, send: nothing else looks at it when `compress` is false.
#pragma once

#ifndef UWS_APP_H
#error "websocket_access.h is included by upstream.h alone"
#endif

#include <array>

#include "server/websocket/op_code.h"
#include "server/websocket/socket_data.h"

namespace nws::frames {

template <bool SSL>
using WebSocket = uWS::WebSocket<SSL, true, SocketData>;

template <bool SSL>
using ContextData = uWS::WebSocketContextData<SSL, SocketData>;

/// µWebSockets keeps these to itself; a derived class may open them.
template <bool SSL>
struct Corkable : uWS::AsyncSocket<SSL> {
  using uWS::AsyncSocket<SSL>::cork;
  using uWS::AsyncSocket<SSL>::uncork;
  using uWS::AsyncSocket<SSL>::canCork;
  using uWS::AsyncSocket<SSL>::isCorked;
  using uWS::AsyncSocket<SSL>::getBufferedAmount;
  using uWS::AsyncSocket<SSL>::getAsyncSocketData;
  using uWS::AsyncSocket<SSL>::write;

  static Corkable *of(void *socket) { return static_cast<Corkable *>(socket); }
};

template <bool SSL>
ContextData<SSL> *context_data(void *socket) {
  auto *s = static_cast<us_socket_t *>(socket);
  return static_cast<ContextData<SSL> *>(us_socket_context_ext(SSL, us_socket_context(SSL, s)));
}

constexpr uWS::OpCode upstream(OpCode op_code) { return static_cast<uWS::OpCode>(op_code); }

/// Marks a message, or the first fragment of one, as compressed already. µWebSockets takes an op code into a
/// frame's first byte as it is.
constexpr uWS::OpCode compressed(OpCode op_code) {
  return static_cast<uWS::OpCode>(static_cast<int>(op_code) | static_cast<int>(uWS::protocol::SND_COMPRESSED));
}

/// As WebSocket::send, without the detour of a short message over the buffer in which writes are gathered.
template <bool SSL>
[[gnu::hot]] void send_whole(WebSocket<SSL> *ws, std::string_view payload, OpCode op_code) {
  constexpr std::size_t is_short = 125, head = 2;
  auto *corkable = Corkable<SSL>::of(ws);
  if (payload.length() > is_short || corkable->isCorked() || corkable->getBufferedAmount() > 0) {
    ws->send(payload, upstream(op_code));
    return;
  }
  std::array<char, head + is_short> frame;
  std::size_t length = uWS::protocol::formatMessage<true>(frame.data(), payload.data(), payload.length(), upstream(op_code),
                                                          payload.length(), false, true);
  corkable->write(frame.data(), static_cast<int>(length));
}

/// An unmasked frame with a whole message that is not compressed: the same for each of those who get it.
inline std::string whole_frame(std::string_view payload, OpCode op_code) {
  std::string frame(uWS::protocol::messageFrameSize(payload.length()), '\0');
  uWS::protocol::formatMessage<true>(frame.data(), payload.data(), payload.length(), upstream(op_code), payload.length(), false,
                                     true);
  return frame;
}

/// Of such a frame, whose payload is shorter than 64 KiB (RFC 6455, section 5.2).
inline std::string_view payload_of(std::string_view frame) {
  constexpr char two_bytes_of_length = 126;
  return frame.substr(frame[1] == two_bytes_of_length ? 4 : 2);
}

}  // namespace nws::frames
