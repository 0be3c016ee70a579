// Where this server wants other frame and closing behaviour than µWebSockets gives, it specialises the member
// functions in question for its own SocketData: the library stays untouched, and nothing is paid at run time.
// What differs:
//
//   - a protocol error, invalid UTF-8 or an oversized message is answered with a Close frame (1002, 1007,
//     1009) before the connection ends; upstream just cuts it;
//   - messages that came before a Close frame or an error, in the same segment, can still be answered;
//   - unmasked frames are errors (RFC 6455, section 5.1); upstream does not look at the mask bit;
//   - close() waits for the peer's Close frame, and reports its code; upstream reports the close at once;
//   - the peer may close with every code that RFC 6455, section 7.4, and its registry allow; upstream refuses
//     1012-3999;
//   - nothing is written while a frame is being read: the Pong, too, is left to whoever handles the Ping;
//   - compressed messages are decompressed by compression.h, with an error of its own for what is too long
//     and what is broken;
//   - text in fragments is checked as it comes;
//   - the parser stops when a connection has had its share of a turn (frame_turn.h), and can go on from
//     there.
//
// Long because µWebSockets' frame handling and its closing share state that only these members see.
//
// Include this before anything instantiates a WebSocketContext for SocketData. A member's specialisation may
// name private members of its class, which is why the shared code below takes them as arguments. Everything
// runs on the loop's thread, inside µWebSockets callbacks: none of it may throw, and none of it calls
// JavaScript.
#pragma once

#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "server/uws/timeouts.h"  // before App.h

#include <App.h>

#include "server/websocket/close_codes.h"
#include "server/websocket/frame_turn.h"
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
  using uWS::AsyncSocket<SSL>::getBufferedAmount;
  using uWS::AsyncSocket<SSL>::write;

  static Corkable *of(void *socket) { return static_cast<Corkable *>(socket); }
};

/// Seconds that a peer has to answer our Close frame; as long as the `ws` package gives it.
constexpr int close_timeout = 30;

inline std::int64_t steady_milliseconds() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

template <bool SSL>
ContextData<SSL> *context_data(void *socket) {
  auto *s = static_cast<us_socket_t *>(socket);
  return static_cast<ContextData<SSL> *>(us_socket_context_ext(SSL, us_socket_context(SSL, s)));
}

/// Sends a Close frame, after what was published to the connection; it subscribes to nothing any more. 1005
/// stands for "no code" and is sent as an empty payload.
template <bool SSL>
void send_close_frame(WebSocket<SSL> *ws, std::uint16_t code, std::string_view reason) {
  if (SocketData *data = ws->getUserData(); data->subscriber) {
    context_data<SSL>(ws)->topicTree->drain(data->subscriber.get());
    data->subscriber.reset();
  }
  constexpr std::size_t max_reason = 123;  // RFC 6455, section 5.5: a control frame carries 125 bytes
  char payload[max_reason + 2];
  auto length = uWS::protocol::formatClosePayload(payload, code, reason.data(), std::min(reason.length(), max_reason));
  ws->send({payload, length}, uWS::OpCode::CLOSE);
}

/// The peer's Close frame or an error ends the connection, with this code, when what came before has been
/// dealt with.
template <bool SSL>
void begin_ending(WebSocket<SSL> *ws, std::uint16_t code, std::string_view reason) {
  SocketData *data = ws->getUserData();
  data->ending = true;
  data->ensure_ending().code = code;
  data->ensure_ending().reason = reason;
  data->route->owner->ending(ws);
}

/// Closes the socket; the close handler reports what is known of its end, else 1006.
template <bool SSL>
void cut(WebSocket<SSL> *ws) {
  us_socket_close(SSL, reinterpret_cast<us_socket_t *>(ws), 0, nullptr);
}

/// Whether a handler has closed the socket, or ended the connection. Its data is gone then.
template <bool SSL>
bool has_ended(WebSocket<SSL> *ws, bool shutting_down) {
  return us_socket_is_closed(SSL, reinterpret_cast<us_socket_t *>(ws)) || shutting_down;
}

/// Opens a private member of WebSocketData: access is not checked where a template is instantiated
/// explicitly. Whether the first part of the idle timeout is over; µWebSockets clears it when it reads, and
/// when the peer does.
template <auto Member>
struct TimedOut {
  friend bool &timed_out(uWS::WebSocketData &data) { return data.*Member; }
};
template struct TimedOut<&uWS::WebSocketData::hasTimedOut>;
bool &timed_out(uWS::WebSocketData &data);

/// Likewise. Whether the connection's end was reported: it has no SocketData any more.
template <auto Member>
struct ShuttingDown {
  friend bool &is_shutting_down(uWS::WebSocketData &data) { return data.*Member; }
};
template struct ShuttingDown<&uWS::WebSocketData::isShuttingDown>;
bool &is_shutting_down(uWS::WebSocketData &data);

template <bool SSL>
uWS::WebSocketData *upgraded_data(WebSocket<SSL> *ws) {
  return static_cast<uWS::WebSocketData *>(us_socket_ext(SSL, reinterpret_cast<us_socket_t *>(ws)));
}

/// From now on the peer's silence counts.
template <bool SSL>
void restart_idle_timeout(WebSocket<SSL> *ws) {
  timed_out(*upgraded_data<SSL>(ws)) = false;
  us_socket_timeout(SSL, reinterpret_cast<us_socket_t *>(ws), context_data<SSL>(ws)->idleTimeoutComponents.first);
}

/// For a connection that waits for the peer's Close frame: puts its deadline back where µWebSockets, at every
/// read and write, or we ourselves have set the timeout. After it the connection is cut, rather than pinged
/// first.
template <bool SSL>
void keep_deadline(WebSocket<SSL> *ws) {
  if (SocketData *data = ws->getUserData(); data->closing) {
    std::int64_t left = std::max<std::int64_t>(data->ensure_ending().deadline - steady_milliseconds(), 1);
    us_socket_timeout(SSL, reinterpret_cast<us_socket_t *>(ws), static_cast<unsigned int>((left + 999) / 1000));
    timed_out(*upgraded_data<SSL>(ws)) = true;
  }
}

/// Likewise. True: the time was up already, and the connection has been cut.
template <bool SSL>
bool enforce_deadline(WebSocket<SSL> *ws) {
  if (ws->getUserData()->ensure_ending().deadline <= steady_milliseconds()) {
    cut<SSL>(ws);
    return true;
  }
  keep_deadline<SSL>(ws);
  return false;
}

/// Our Close frame has been sent, or waits to be: from now on the deadline counts.
template <bool SSL>
void start_deadline(WebSocket<SSL> *ws) {
  SocketData *data = ws->getUserData();
  data->closing = true;
  data->ensure_ending().deadline = steady_milliseconds() + close_timeout * 1000;
  enforce_deadline<SSL>(ws);
}

/// The end: close event and FIN. For a socket that is `shutting_down`, µWebSockets ignores what still comes
/// in.
template <bool SSL>
void complete(WebSocket<SSL> *ws, bool &shutting_down) {
  bool has_left = ws->getUserData()->ensure_ending().has_left;
  shutting_down = true;
  us_socket_shutdown(SSL, reinterpret_cast<us_socket_t *>(ws));
  us_socket_timeout(SSL, reinterpret_cast<us_socket_t *>(ws), context_data<SSL>(ws)->idleTimeoutComponents.second);
  context_data<SSL>(ws)->closeHandler(ws, close_code::abnormal_closure, {});
  ws->getUserData()->~SocketData();
  if (has_left) {
    cut<SSL>(ws);  // nobody would find its FIN once more
  }
}

/// Answers the peer's Close frame, or its error, with ours, and ends the connection when everything is
/// written.
template <bool SSL>
void finish(WebSocket<SSL> *ws, bool &shutting_down) {
  SocketData *data = ws->getUserData();
  send_close_frame<SSL>(ws, data->ensure_ending().code, data->ensure_ending().reason);
  Corkable<SSL>::of(ws)->uncork();
  if (ws->getBufferedAmount() == 0) {
    complete<SSL>(ws, shutting_down);
    return;
  }
  data->finishing = true;
  start_deadline<SSL>(ws);
}

/// Starts the closing handshake. If it has begun, sees to its end or its deadline.
template <bool SSL>
void begin_close(WebSocket<SSL> *ws, std::uint16_t code, std::string_view reason, bool &shutting_down) {
  if (shutting_down) {
    return;
  }
  SocketData *data = ws->getUserData();
  if (data->closing) {
    if (data->finishing && ws->getBufferedAmount() == 0) {
      complete<SSL>(ws, shutting_down);
    } else {
      enforce_deadline<SSL>(ws);
    }
    return;
  }
  if (data->ending) {
    return finish<SSL>(ws, shutting_down);  // the peer was first
  }
  send_close_frame<SSL>(ws, code, reason);
  start_deadline<SSL>(ws);
}

/// What forceClose does for each of µWebSockets' reasons. It passes constants, so their text tells them
/// apart.
constexpr std::uint16_t code_of(std::string_view reason) {
  return reason == uWS::ERR_PROTOCOL          ? close_code::protocol_error
         : reason == uWS::ERR_TOO_BIG_MESSAGE ? close_code::message_too_big
                                              : 0;
}

/// Ends the connection because of an error of the peer; 0 for one that is no matter of frames.
template <bool SSL>
void fail(WebSocket<SSL> *ws, std::uint16_t code, bool &shutting_down) {
  if (code && !shutting_down && !ws->getUserData()->closing) {
    if (!ws->getUserData()->ending) {
      begin_ending<SSL>(ws, code, {});
    }
  } else {
    cut<SSL>(ws);
  }
}

/// A timeout has struck, for a connection that is not to be pinged first. The idle timeout is always in two
/// parts, also without the Ping between them: µSockets cannot count the longest one as a whole.
template <bool SSL>
void time_out(WebSocket<SSL> *ws, bool shutting_down, bool &timed_out) {
  if (shutting_down) {
    cut<SSL>(ws);
  } else if (ws->getUserData()->closing) {
    enforce_deadline<SSL>(ws);
  } else if (!std::exchange(timed_out, true)) {
    us_socket_timeout(SSL, reinterpret_cast<us_socket_t *>(ws), context_data<SSL>(ws)->idleTimeoutComponents.second);
  } else {
    cut<SSL>(ws);
  }
}

/// A Close frame has come. True: the parser must stop.
template <bool SSL>
bool receive_close(WebSocket<SSL> *ws, std::string_view payload, bool &shutting_down) {
  std::uint16_t code = close_code::no_status_received;
  std::string_view reason;
  if (payload.length() == 1) {
    return fail<SSL>(ws, close_code::protocol_error, shutting_down), true;
  }
  if (payload.length() >= 2) {
    auto byte = [&](int i) { return static_cast<unsigned char>(payload[i]); };
    code = static_cast<std::uint16_t>(byte(0) << 8 | byte(1));
    reason = payload.substr(2);
    if (!close_code::may_be_sent(code)) {
      return fail<SSL>(ws, close_code::protocol_error, shutting_down), true;
    }
    if (!uWS::protocol::isValidUtf8(reinterpret_cast<unsigned char *>(const_cast<char *>(reason.data())), reason.length())) {
      return fail<SSL>(ws, close_code::invalid_payload, shutting_down), true;
    }
  }
  SocketData *data = ws->getUserData();
  if (data->closing) {
    data->ensure_ending().code = code;
    data->ensure_ending().reason = reason;
    if (ws->getBufferedAmount() > 0) {
      // The peer has not waited for ours, which still waits behind other bytes.
      data->ending = data->finishing = true;
      return true;
    }
    // The answer to our own: the handshake is complete, and the server closes the transport first (section
    // 7.1.1).
    us_socket_shutdown(SSL, reinterpret_cast<us_socket_t *>(ws));
    cut<SSL>(ws);
  } else {
    begin_ending<SSL>(ws, code, reason);
  }
  return true;
}

/// A whole control frame has come. True: the parser must stop.
template <bool SSL>
bool receive_control(WebSocket<SSL> *ws, int op_code, std::string_view payload, bool &shutting_down) {
  if (op_code == uWS::OpCode::CLOSE) {
    return receive_close<SSL>(ws, payload, shutting_down);
  }
  SocketData *data = ws->getUserData();
  FrameTurn *turn = data->route->turn;
  if (data->closing) {
    return turn->spend_event(0);
  }
  ContextData<SSL> *context = context_data<SSL>(ws);
  if (op_code == uWS::OpCode::PING) {
    context->pingHandler(ws, payload);
  } else {
    context->pongHandler(ws, payload);
  }
  return has_ended<SSL>(ws, shutting_down) || turn->spend_event(payload.length());
}

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

/// A whole message has come, which is valid. True: the parser must stop.
template <bool SSL>
bool deliver_message(WebSocket<SSL> *ws, int op_code, std::string_view payload, bool &shutting_down) {
  FrameTurn *turn = ws->getUserData()->route->turn;
  context_data<SSL>(ws)->messageHandler(ws, payload, static_cast<uWS::OpCode>(op_code));
  return has_ended<SSL>(ws, shutting_down) || turn->spend_event(payload.length());
}

/// A whole message has come. True: the parser must stop.
template <bool SSL>
bool receive_message(WebSocket<SSL> *ws, int op_code, std::string_view payload, bool &shutting_down) {
  if (op_code == uWS::OpCode::TEXT && !is_valid_utf8(payload)) {
    return fail<SSL>(ws, close_code::invalid_payload, shutting_down), true;
  }
  return deliver_message<SSL>(ws, op_code, payload, shutting_down);
}

/// A step of a compressed message: its end is delivered, or an error. True: the parser must stop.
template <bool SSL>
bool receive_inflated(WebSocket<SSL> *ws, int op_code, const Inflated &message, std::uint32_t checked_text, bool &shutting_down) {
  using State = Inflated::State;
  if (message.state == State::whole) {
    bool is_valid = op_code != uWS::OpCode::TEXT || check_text(message.data, checked_text, true);
    return is_valid ? deliver_message<SSL>(ws, op_code, message.data, shutting_down)
                    : (fail<SSL>(ws, close_code::invalid_payload, shutting_down), true);
  }
  fail<SSL>(ws, message.state == State::too_long ? close_code::message_too_big : close_code::invalid_payload, shutting_down);
  return true;
}

/// A whole message has come, which is compressed. True: the parser must stop.
template <bool SSL>
bool receive_compressed(WebSocket<SSL> *ws, int op_code, std::string_view payload, bool &shutting_down) {
  SocketData *data = ws->getUserData();
  FrameTurn *turn = data->route->turn;
  data->receiving_compressed = false;
  if (!turn->may_inflate() || (FrameTurn::needs_place(payload.length()) && !turn->has_place())) {
    turn->put_off(std::make_unique<CompressedMessage>(CompressedMessage{std::string(payload), op_code}));
    return true;
  }
  ScratchBuffer &buffer = data->compression->shared().inflated;
  std::size_t share = FrameTurn::step(payload.length());
  Inflated message = data->compression->decompress(payload, data->route->options.max_payload_length, share);
  turn->spend_inflated(message.cost);
  if (message.state == Inflated::State::more) {
    std::unique_ptr<CompressedMessage> rest = data->compression->put_off(payload, op_code);
    rest->place = turn->take_place();
    turn->put_off(std::move(rest));
    return true;
  }
  bool stop = receive_inflated<SSL>(ws, op_code, message, 0, shutting_down);
  buffer.trim();
  return stop;
}

/// A turn of a message that was put off, and has a place if it needs one. The message is gone when it is
/// whole or has failed.
template <bool SSL>
void inflate_further(WebSocket<SSL> *ws, std::unique_ptr<CompressedMessage> &message) {
  SocketData *data = ws->getUserData();
  FrameTurn *turn = data->route->turn;
  if (data->closing || data->ending) {
    message.reset();
    return;
  }
  if (!turn->may_inflate()) {
    return;
  }
  std::size_t share = FrameTurn::step(message->payload.length());
  Inflated step = data->compression->decompress(*message, data->route->options.max_payload_length, share);
  turn->spend_inflated(step.cost);
  bool is_text = message->op_code == uWS::OpCode::TEXT;
  if (step.state != Inflated::State::more) {
    std::unique_ptr<CompressedMessage> done = std::move(message);
    receive_inflated<SSL>(ws, done->op_code, step, done->checked_text, is_shutting_down(*upgraded_data<SSL>(ws)));
  } else if (is_text && !check_text(step.data, message->checked_text, false)) {
    message.reset();
    fail<SSL>(ws, close_code::invalid_payload, is_shutting_down(*upgraded_data<SSL>(ws)));
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
             bool &shutting_down, std::string &fragments, unsigned int &control_tip) {
  SocketData *data = ws->getUserData();
  if (data->ending) {
    return true;
  }
  bool complete = remaining == 0 && fin;
  if (op_code >= uWS::OpCode::CLOSE) {
    if (complete && control_tip == 0) {
      return receive_control<SSL>(ws, op_code, piece, shutting_down);
    }
    fragments.append(piece);
    control_tip += static_cast<unsigned int>(piece.length());
    if (!complete) {
      return false;
    }
    std::string payload = fragments.substr(fragments.length() - control_tip);
    fragments.resize(fragments.length() - control_tip);
    control_tip = 0;
    return receive_control<SSL>(ws, op_code, payload, shutting_down);
  }
  if (data->closing) {
    return complete && data->route->turn->spend_event(0);
  }
  if (nested) {  // upstream lets a binary message begin inside another one
    return fail<SSL>(ws, close_code::protocol_error, shutting_down), true;
  }
  bool compressed = data->receiving_compressed;
  std::size_t limit = data->route->options.max_payload_length;
  if (fragments.length() + piece.length() + remaining > (compressed ? max_compressed_length(limit) : limit)) {
    return fail<SSL>(ws, close_code::message_too_big, shutting_down), true;
  }
  if (complete && fragments.empty()) {
    return compressed ? receive_compressed<SSL>(ws, op_code, piece, shutting_down)
                      : receive_message<SSL>(ws, op_code, piece, shutting_down);
  }
  append_piece(fragments, piece, remaining);
  bool is_checked = op_code == uWS::OpCode::TEXT && !compressed;
  if (is_checked && !check_text(fragments, data->checked_text, complete)) {
    return fail<SSL>(ws, close_code::invalid_payload, shutting_down), true;
  }
  if (!complete) {
    return false;
  }
  std::string message;
  message.swap(fragments);  // the handler may end the connection, and the buffer with it
  data->checked_text = 0;
  return compressed ? receive_compressed<SSL>(ws, op_code, message, shutting_down)
                    : deliver_message<SSL>(ws, op_code, message, shutting_down);
}

/// The parser was stopped behind a whole frame, as if it were to end: it is to go on from FrameTurn::rest.
template <bool SSL>
void note_stop(WebSocket<SSL> *ws, uWS::WebSocketState<true> *parser, bool fin) {
  if (us_socket_is_closed(SSL, reinterpret_cast<us_socket_t *>(ws)) || !ws->getUserData()->route->turn->is_over()) {
    return;
  }
  parser->state.opStack -= fin;
  parser->state.spillLength = 0;
  parser->state.wantsHead = true;
}

/// Whether a payload is longer than any may be.
template <bool SSL>
bool refuses_length(WebSocket<SSL> *ws, std::uint64_t length) {
  ws->getUserData()->route->turn->begin_frame(length);
  return length > context_data<SSL>(ws)->maxPayloadLength;
}

/// The first bit of RFC 7692 in a frame's first byte. The parser may ask more than once for the same frame,
/// while its head is not complete. False: it may not be set.
template <bool SSL>
bool begin_compressed(WebSocket<SSL> *ws) {
  SocketData *data = ws->getUserData();
  data->receiving_compressed = data->compression != nullptr;
  return data->receiving_compressed;
}

constexpr uWS::OpCode upstream(OpCode op_code) { return static_cast<uWS::OpCode>(op_code); }

/// Marks a message, or the first fragment of one, as compressed already. µWebSockets takes an op code into a
/// frame's first byte as it is.
constexpr uWS::OpCode compressed(OpCode op_code) {
  return static_cast<uWS::OpCode>(static_cast<int>(op_code) | static_cast<int>(uWS::protocol::SND_COMPRESSED));
}

/// Sends a whole message in its compressed form, if it has one.
template <bool SSL>
void send_compressed(WebSocket<SSL> *ws, std::string_view message, std::optional<std::string_view> form, OpCode op_code) {
  if (form) {
    ws->send(*form, compressed(op_code));
  } else {
    ws->send(message, upstream(op_code));
  }
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
  auto *state = static_cast<WebSocketData *>(us_socket_ext(false, static_cast<us_socket_t *>(s)));
  auto *ws = static_cast<nws::frames::WebSocket<false> *>(s);
  if (reason == ERR_WEBSOCKET_TIMEOUT) {
    nws::frames::time_out<false>(ws, state->isShuttingDown, state->hasTimedOut);
  } else {
    nws::frames::fail<false>(ws, nws::frames::code_of(reason), state->isShuttingDown);
  }
}
template <>
inline void WebSocketContext<true, true, nws::SocketData>::forceClose(WebSocketState<true> *, void *s, std::string_view reason) {
  auto *state = static_cast<WebSocketData *>(us_socket_ext(true, static_cast<us_socket_t *>(s)));
  auto *ws = static_cast<nws::frames::WebSocket<true> *>(s);
  if (reason == ERR_WEBSOCKET_TIMEOUT) {
    nws::frames::time_out<true>(ws, state->isShuttingDown, state->hasTimedOut);
  } else {
    nws::frames::fail<true>(ws, nws::frames::code_of(reason), state->isShuttingDown);
  }
}

template <>
inline bool WebSocketContext<false, true, nws::SocketData>::handleFragment(char *data, size_t length, unsigned int remaining,
                                                                           int op_code, bool fin, WebSocketState<true> *parser,
                                                                           void *s) {
  auto *state = static_cast<WebSocketData *>(us_socket_ext(false, static_cast<us_socket_t *>(s)));
  auto *ws = static_cast<nws::frames::WebSocket<false> *>(s);
  bool stop = nws::frames::receive<false>(ws, {data, length}, remaining, op_code, fin, parser->state.opStack > 0,
                                          state->isShuttingDown, state->fragmentBuffer, state->controlTipLength);
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
                                         state->isShuttingDown, state->fragmentBuffer, state->controlTipLength);
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

// Besides starting the closing handshake, `end` finishes a connection that is ending: the one way to a
// private member that both need.
template <>
inline void WebSocket<false, true, nws::SocketData>::end(int code, std::string_view reason) {
  auto *state = static_cast<WebSocketData *>(us_socket_ext(false, reinterpret_cast<us_socket_t *>(this)));
  nws::frames::begin_close<false>(this, static_cast<std::uint16_t>(code), reason, state->isShuttingDown);
}
template <>
inline void WebSocket<true, true, nws::SocketData>::end(int code, std::string_view reason) {
  auto *state = static_cast<WebSocketData *>(us_socket_ext(true, reinterpret_cast<us_socket_t *>(this)));
  nws::frames::begin_close<true>(this, static_cast<std::uint16_t>(code), reason, state->isShuttingDown);
}

}  // namespace uWS
