// A seam, part of upstream.h. In place of members of µWebSockets' WebSocketProtocol, WebSocketContext and
// WebSocket, which are specialised for our SocketData: nothing is paid at run time. What they do instead is
// in native/server/websocket: frames.h and closing_handshake.h. Here is no more than what must name a private
// member, and what depends on µWebSockets' parser.
//
// Why:
//
//   - a protocol error, invalid UTF-8 or an oversized message is answered with a Close frame (1002, 1007,
//     1009) before the connection ends; upstream just cuts it;
//   - messages that came before a Close frame or an error, in the same segment, can still be answered;
//   - unmasked frames are errors (RFC 6455, section 5.1); upstream does not look at the mask bit;
//   - close() waits for the peer's Close frame, and reports its code; upstream reports the close at once;
//   - the peer may close with every code that RFC 6455, section 7.4, and its registry allow; upstream refuses
//     1012-3999;
//   - nothing is written while a frame is being read: the Pong, too, is left to the handler of on_ping;
//   - compressed messages are decompressed by compression.h, with an error of its own for what is too long
//     and what is broken;
//   - text in fragments is checked as it comes;
//   - the parser stops when a connection has had its share of a turn (frame_turn.h), and can go on from
//     there.
//
// At the next release:
//
//   - forceClose, handleFragment (WebSocketContext.h): what the originals do and in which order, who calls
//     them, which results stop the parser, the texts of the reasons (ERR_…);
//   - rsv23 (WebSocketProtocol.h): it is asked for every frame, with at least two bytes of the head;
//     setCompressed: it is asked before rsv23 for each frame that has RSV1 set, more than once while the head
//     is incomplete;
//   - refusePayloadLength: consumeMessage asks for each frame, before it unmasks the frame and with the head
//     still in place; behind a stop, only opStack, spillLength and wantsHead are wrong (note_stop);
//   - WebSocket::end (WebSocket.h, WebSocketData.h): what else calls it, and what isShuttingDown,
//     hasTimedOut, fragmentBuffer and controlTipLength mean.
//
// A member's specialisation may name private members of its class, which is why our functions take some of
// them as arguments. Everything runs on the loop's thread, inside µWebSockets' callbacks: none of it may
// throw, and none of it calls JavaScript.
#pragma once

#ifndef UWS_APP_H
#error "frame_specializations.h is included by upstream.h alone"
#endif

#include <cstdint>
#include <string>
#include <string_view>

#include "server/uws/websocket_access.h"
#include "server/websocket/close_codes.h"
#include "server/websocket/frame_turn.h"

namespace nws::frames {

/// These are defined in closing_handshake.h.
template <bool SSL>
bool is_alive(WebSocket<SSL> *ws);
template <bool SSL>
void begin_close(WebSocket<SSL> *ws, std::uint16_t code, std::string_view reason);
template <bool SSL>
void fail(WebSocket<SSL> *ws, std::uint16_t code);
template <bool SSL>
void time_out(WebSocket<SSL> *ws);

/// These are defined in frames.h.
template <bool SSL>
bool receive(WebSocket<SSL> *ws, std::string_view piece, unsigned int remaining, int op_code, bool fin, bool nested,
             std::string &fragments, unsigned int &control_tip);
template <bool SSL>
bool refuses_length(WebSocket<SSL> *ws, std::uint64_t length);
template <bool SSL>
bool begin_compressed(WebSocket<SSL> *ws);

/// What forceClose does for each of µWebSockets' reasons. It passes constants, so their text tells them
/// apart.
constexpr std::uint16_t code_of(std::string_view reason) {
  return reason == uWS::ERR_PROTOCOL          ? close_code::protocol_error
         : reason == uWS::ERR_TOO_BIG_MESSAGE ? close_code::message_too_big
                                              : 0;
}

template <bool SSL>
void force_close(WebSocket<SSL> *ws, std::string_view reason) {
  if (reason == uWS::ERR_WEBSOCKET_TIMEOUT) {
    time_out<SSL>(ws);
  } else {
    fail<SSL>(ws, code_of(reason));
  }
}

/// The parser was stopped behind a whole frame, as if it were to end: it is to go on from FrameTurn::rest.
template <bool SSL>
void note_stop(WebSocket<SSL> *ws, uWS::WebSocketState<true> *parser, bool fin) {
  if (!is_alive<SSL>(ws) || !ws->getUserData()->route->turn->is_over()) {
    return;
  }
  parser->state.opStack -= fin;
  parser->state.spillLength = 0;
  parser->state.wantsHead = true;
}

inline bool is_refused(const char *frame) {
  constexpr int reserved_2_and_3 = 0x30;
  constexpr int mask = 0x80;
  int op_code = frame[0] & 0x0f;
  bool begins_message = op_code == uWS::OpCode::TEXT || op_code == uWS::OpCode::BINARY;
  return (frame[0] & reserved_2_and_3) || !(frame[1] & mask) || ((frame[0] & uWS::protocol::SND_COMPRESSED) && !begins_message);
}

}  // namespace nws::frames

namespace uWS {

// A frame is refused as if it had a reserved bit set when its mask bit is clear, or when it is marked as
// compressed (0x40) and does not begin a message (RFC 7692, section 6). The parser asks with at least 6
// bytes.
template <>
inline bool WebSocketProtocol<true, WebSocketContext<false, true, nws::SocketData>>::rsv23(char *frame) {
  return nws::frames::is_refused(frame);
}
template <>
inline bool WebSocketProtocol<true, WebSocketContext<true, true, nws::SocketData>>::rsv23(char *frame) {
  return nws::frames::is_refused(frame);
}

template <>
inline bool WebSocketContext<false, true, nws::SocketData>::setCompressed(WebSocketState<true> *, void *s) {
  return nws::frames::begin_compressed<false>(static_cast<nws::frames::WebSocket<false> *>(s));
}
template <>
inline bool WebSocketContext<true, true, nws::SocketData>::setCompressed(WebSocketState<true> *, void *s) {
  return nws::frames::begin_compressed<true>(static_cast<nws::frames::WebSocket<true> *>(s));
}

template <>
inline void WebSocketContext<false, true, nws::SocketData>::forceClose(WebSocketState<true> *, void *s, std::string_view reason) {
  nws::frames::force_close<false>(static_cast<nws::frames::WebSocket<false> *>(s), reason);
}
template <>
inline void WebSocketContext<true, true, nws::SocketData>::forceClose(WebSocketState<true> *, void *s, std::string_view reason) {
  nws::frames::force_close<true>(static_cast<nws::frames::WebSocket<true> *>(s), reason);
}

template <>
inline bool WebSocketContext<false, true, nws::SocketData>::handleFragment(char *data, size_t length, unsigned int remaining,
                                                                           int op_code, bool fin, WebSocketState<true> *parser,
                                                                           void *s) {
  auto *state = static_cast<WebSocketData *>(us_socket_ext(false, static_cast<us_socket_t *>(s)));
  auto *ws = static_cast<nws::frames::WebSocket<false> *>(s);
  bool stop = nws::frames::receive<false>(ws, {data, length}, remaining, op_code, fin, parser->state.opStack > 0,
                                          state->fragmentBuffer, state->controlTipLength);
  if (stop) {
    nws::frames::note_stop<false>(ws, parser, fin);
  }
  return stop;
}
template <>
inline bool WebSocketContext<true, true, nws::SocketData>::handleFragment(char *data, size_t length, unsigned int remaining,
                                                                          int op_code, bool fin, WebSocketState<true> *parser,
                                                                          void *s) {
  auto *state = static_cast<WebSocketData *>(us_socket_ext(true, static_cast<us_socket_t *>(s)));
  auto *ws = static_cast<nws::frames::WebSocket<true> *>(s);
  bool stop = nws::frames::receive<true>(ws, {data, length}, remaining, op_code, fin, parser->state.opStack > 0,
                                         state->fragmentBuffer, state->controlTipLength);
  if (stop) {
    nws::frames::note_stop<true>(ws, parser, fin);
  }
  return stop;
}

template <>
inline bool WebSocketContext<false, true, nws::SocketData>::refusePayloadLength(uint64_t length, WebSocketState<true> *,
                                                                                void *s) {
  return nws::frames::refuses_length<false>(static_cast<nws::frames::WebSocket<false> *>(s), length);
}
template <>
inline bool WebSocketContext<true, true, nws::SocketData>::refusePayloadLength(uint64_t length, WebSocketState<true> *, void *s) {
  return nws::frames::refuses_length<true>(static_cast<nws::frames::WebSocket<true> *>(s), length);
}

// Besides starting the closing handshake, `end` goes on with one that has begun.
template <>
inline void WebSocket<false, true, nws::SocketData>::end(int code, std::string_view reason) {
  nws::frames::begin_close<false>(this, static_cast<std::uint16_t>(code), reason);
}
template <>
inline void WebSocket<true, true, nws::SocketData>::end(int code, std::string_view reason) {
  nws::frames::begin_close<true>(this, static_cast<std::uint16_t>(code), reason);
}

}  // namespace uWS
