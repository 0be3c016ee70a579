// What happens to the frames of a WebSocket when µWebSockets' parser has read them (RFC 6455, sections 5 and
// 6; RFC 7692): fragments are joined, limits applied, text is checked, messages are inflated, and handlers
// called. The parser comes here by uws/frame_specializations.h. Internal to websocket_server.cpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "server/uws/upstream.h"
#include "server/websocket/close_codes.h"
#include "server/websocket/closing_handshake.h"
#include "server/websocket/frame_turn.h"
#include "server/websocket/socket_data.h"
#include "server/websocket/text_check.h"

namespace nws::frames {

/// A Close frame has come. True: the parser must stop.
template <bool SSL>
bool receive_close(WebSocket<SSL> *ws, std::string_view payload) {
  std::uint16_t code = close_code::no_status_received;
  std::string_view reason;
  if (payload.length() == 1) {
    return fail<SSL>(ws, close_code::protocol_error), true;
  }
  if (payload.length() >= 2) {
    auto byte = [&](int i) { return static_cast<unsigned char>(payload[i]); };
    code = static_cast<std::uint16_t>(byte(0) << 8 | byte(1));
    reason = payload.substr(2);
    if (!close_code::may_be_sent(code)) {
      return fail<SSL>(ws, close_code::protocol_error), true;
    }
    if (!is_valid_utf8(reason)) {
      return fail<SSL>(ws, close_code::invalid_payload), true;
    }
  }
  SocketData *data = ws->getUserData();
  if (data->has_sent_close()) {
    data->ending->code = code;
    data->ending->reason = reason;
    data->ending->is_peers = true;
    if (ws->getBufferedAmount() > 0) {
      // The peer has not waited for ours, which still waits behind other bytes.
      data->close_state = CloseState::finishing;
      return true;
    }
    // The answer to our own: the handshake is complete, and the server closes the transport first (section
    // 7.1.1).
    us_socket_shutdown(SSL, reinterpret_cast<us_socket_t *>(ws));
    cut<SSL>(ws);
  } else {
    begin_ending<SSL>(ws, code, reason, true);
  }
  return true;
}

/// A whole control frame has come. True: the parser must stop.
template <bool SSL>
bool receive_control(WebSocket<SSL> *ws, int op_code, std::string_view payload) {
  if (op_code == uWS::OpCode::CLOSE) {
    return receive_close<SSL>(ws, payload);
  }
  SocketData *data = ws->getUserData();
  FrameTurn *turn = data->route->turn;
  if (data->has_sent_close()) {
    return turn->spend_event(0);
  }
  ContextData<SSL> *context = context_data<SSL>(ws);
  if (op_code == uWS::OpCode::PING) {
    context->pingHandler(ws, payload);
  } else {
    context->pongHandler(ws, payload);
  }
  return !is_alive<SSL>(ws) || turn->spend_event(payload.length());
}

/// A whole message has come, which is valid. True: the parser must stop.
template <bool SSL>
[[gnu::hot]] bool deliver_message(WebSocket<SSL> *ws, int op_code, std::string_view payload) {
  FrameTurn *turn = ws->getUserData()->route->turn;
  context_data<SSL>(ws)->messageHandler(ws, payload, static_cast<uWS::OpCode>(op_code));
  return !is_alive<SSL>(ws) || turn->spend_event(payload.length());
}

/// A whole message has come. True: the parser must stop.
template <bool SSL>
bool receive_message(WebSocket<SSL> *ws, int op_code, std::string_view payload) {
  if (op_code == uWS::OpCode::TEXT && !is_valid_utf8(payload)) {
    return fail<SSL>(ws, close_code::invalid_payload), true;
  }
  return deliver_message<SSL>(ws, op_code, payload);
}

/// A step of a compressed message: its end is delivered, or an error. True: the parser must stop.
template <bool SSL>
bool receive_inflated(WebSocket<SSL> *ws, int op_code, const Inflated &message, std::uint32_t checked_text) {
  using State = Inflated::State;
  if (message.state == State::whole) {
    bool is_valid = op_code != uWS::OpCode::TEXT || check_text(message.data, checked_text, true);
    return is_valid ? deliver_message<SSL>(ws, op_code, message.data) : (fail<SSL>(ws, close_code::invalid_payload), true);
  }
  fail<SSL>(ws, message.state == State::too_long ? close_code::message_too_big : close_code::invalid_payload);
  return true;
}

/// A whole message has come, which is compressed. True: the parser must stop.
template <bool SSL>
bool receive_compressed(WebSocket<SSL> *ws, int op_code, std::string_view payload) {
  SocketData *data = ws->getUserData();
  FrameTurn *turn = data->route->turn;
  data->receiving_compressed = false;
  data->compression->end_fragments();
  if (!turn->may_inflate() || (FrameTurn::needs_place(payload.length()) && !turn->has_place())) {
    turn->put_off(std::make_unique<CompressedMessage>(CompressedMessage{std::string(payload), op_code}));
    return true;
  }
  ScratchBuffer &buffer = data->compression->shared().inflated;
  std::size_t share = FrameTurn::step(payload.length());
  Inflated message = data->compression->decompress(payload, data->max_payload_length, share);
  turn->spend_inflated(message.cost);
  if (message.state == Inflated::State::more) {
    std::unique_ptr<CompressedMessage> rest = data->compression->put_off(payload, op_code);
    rest->place = turn->take_place();
    turn->put_off(std::move(rest));
    return true;
  }
  bool stop = receive_inflated<SSL>(ws, op_code, message, 0);
  buffer.trim();
  return stop;
}

/// A turn of a message that was put off, and has a place if it needs one. The message is gone when it is
/// whole or has failed.
template <bool SSL>
void inflate_further(WebSocket<SSL> *ws, std::unique_ptr<CompressedMessage> &message) {
  SocketData *data = ws->getUserData();
  FrameTurn *turn = data->route->turn;
  if (data->close_state != CloseState::open) {
    message.reset();
    return;
  }
  if (!turn->may_inflate()) {
    return;
  }
  std::size_t share = FrameTurn::step(message->payload.length());
  Inflated step = data->compression->decompress(*message, data->max_payload_length, share);
  turn->spend_inflated(step.cost);
  bool is_text = message->op_code == uWS::OpCode::TEXT;
  if (step.state != Inflated::State::more) {
    std::unique_ptr<CompressedMessage> done = std::move(message);
    receive_inflated<SSL>(ws, done->op_code, step, done->checked_text);
  } else if (is_text && !check_text(step.data, message->checked_text, false)) {
    message.reset();
    fail<SSL>(ws, close_code::invalid_payload);
  }
}

/// Checks what has come of a compressed text of which other fragments will come, as far as the connection's
/// share of the turn allows. True: the parser must stop, since the text is refused, or is checked further in
/// another turn.
template <bool SSL>
bool check_compressed_fragments(WebSocket<SSL> *ws) {
  // zlib takes as long to be called as to inflate about this many bytes; a fragment may have one byte.
  constexpr std::size_t cost_of_call = 64;
  SocketData *data = ws->getUserData();
  FrameTurn *turn = data->route->turn;
  Compression &compression = *data->compression;
  std::string_view fragments = unfinished_message(*upgraded_data<SSL>(ws));
  std::size_t limit = data->max_payload_length;
  Inflated step = compression.inflate_fragments(fragments, limit, turn->inflation_left());
  turn->spend_inflated(step.cost + cost_of_call);
  std::uint32_t checked = 0;
  if (step.state == Inflated::State::too_long) {
    return fail<SSL>(ws, close_code::message_too_big), true;
  }
  if (step.state == Inflated::State::invalid || !check_text(step.data, checked, false)) {
    return fail<SSL>(ws, close_code::invalid_payload), true;
  }
  compression.keep_incomplete(step.data, checked);
  compression.shared().inflated.trim();
  if (compression.has_unchecked_fragments()) {
    turn->stop();
    return true;
  }
  return false;
}

/// Whether check_fragments_further has something to do.
template <bool SSL>
bool has_unchecked_fragments(WebSocket<SSL> *ws) {
  const Compression *compression = ws->getUserData()->compression.get();
  return compression && compression->has_unchecked_fragments();
}

/// A turn for what check_compressed_fragments has left.
template <bool SSL>
void check_fragments_further(WebSocket<SSL> *ws) {
  if (SocketData *data = ws->getUserData(); data->close_state != CloseState::open) {
    data->compression->end_fragments();
  } else {
    check_compressed_fragments<SSL>(ws);
  }
}

/// Room is made for what has come, not for what was announced.
inline void append_piece(std::string &fragments, std::string_view piece, std::size_t remaining) {
  constexpr std::size_t least = 4096;
  if (fragments.empty()) {
    fragments.reserve(std::min(piece.length() + remaining, std::max(least, 4 * piece.length())));
  }
  fragments.append(piece);
}

/// One piece of a frame's payload, unmasked. `remaining` bytes of the frame are still to come; `fin` marks
/// the message's last frame, and `nested` a frame that came while another message was open. `fragments`
/// collects a message that comes in pieces, then `control_tip` bytes of a control frame on top of it. True:
/// the parser must stop, because the socket is closed or closing.
template <bool SSL>
bool receive(WebSocket<SSL> *ws, std::string_view piece, unsigned int remaining, int op_code, bool fin, bool nested,
             std::string &fragments, unsigned int &control_tip) {
  SocketData *data = ws->getUserData();
  if (data->has_peer_closed()) {
    return true;
  }
  bool complete = remaining == 0 && fin;
  if (op_code >= uWS::OpCode::CLOSE) {
    if (complete && control_tip == 0) {
      return receive_control<SSL>(ws, op_code, piece);
    }
    fragments.append(piece);
    control_tip += static_cast<unsigned int>(piece.length());
    if (!complete) {
      return false;
    }
    std::string payload = fragments.substr(fragments.length() - control_tip);
    fragments.resize(fragments.length() - control_tip);
    control_tip = 0;
    return receive_control<SSL>(ws, op_code, payload);
  }
  if (data->has_sent_close()) {
    return complete && data->route->turn->spend_event(0);
  }
  if (nested) {  // upstream lets a binary message begin inside another one
    return fail<SSL>(ws, close_code::protocol_error), true;
  }
  bool compressed = data->receiving_compressed;
  std::size_t limit = data->max_payload_length;
  if (fragments.length() + piece.length() + remaining > (compressed ? max_compressed_length(limit) : limit)) {
    return fail<SSL>(ws, close_code::message_too_big), true;
  }
  if (complete && fragments.empty()) {
    return compressed ? receive_compressed<SSL>(ws, op_code, piece) : receive_message<SSL>(ws, op_code, piece);
  }
  append_piece(fragments, piece, remaining);
  bool is_checked = op_code == uWS::OpCode::TEXT && !compressed;
  if (is_checked && !check_text(fragments, data->checked_text, complete)) {
    return fail<SSL>(ws, close_code::invalid_payload), true;
  }
  if (!complete) {
    bool is_fragment = remaining == 0 && compressed && op_code == uWS::OpCode::TEXT;
    return is_fragment && check_compressed_fragments<SSL>(ws);
  }
  std::string message;
  message.swap(fragments);  // the handler may end the connection, and the buffer with it
  data->checked_text = 0;
  return compressed ? receive_compressed<SSL>(ws, op_code, message) : deliver_message<SSL>(ws, op_code, message);
}

/// Whether a payload is longer than any may be, that of a control frame (RFC 6455, section 5.5) included.
template <bool SSL>
[[gnu::hot]] bool refuses_length(WebSocket<SSL> *ws, std::uint64_t length) {
  SocketData *data = ws->getUserData();
  data->route->turn->begin_frame(length);
  std::size_t limit = data->max_payload_length;
  return length > std::max<std::size_t>(data->compression ? max_compressed_length(limit) : limit, 125);
}

/// The first bit of RFC 7692 in a frame's first byte. The parser may ask more than once for the same frame,
/// while its head is not complete. False: it may not be set.
template <bool SSL>
bool begin_compressed(WebSocket<SSL> *ws) {
  SocketData *data = ws->getUserData();
  data->receiving_compressed = data->compression != nullptr;
  return data->receiving_compressed;
}

}  // namespace nws::frames
