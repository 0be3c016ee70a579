// How a WebSocket ends (RFC 6455, section 7): the closing handshake from either side, errors of the peer, and
// the deadlines of both. WebSocket::end, forceClose and the timeouts of µWebSockets come here
// (uws/frame_specializations.h). Internal to websocket_server.cpp.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>

#include "server/uws/private_members.h"
#include "server/uws/upstream.h"
#include "server/websocket/close_codes.h"
#include "server/websocket/connection_owner.h"
#include "server/websocket/socket_data.h"

namespace nws::frames {

/// Seconds that a peer has to answer our Close frame; as long as the `ws` package gives it.
constexpr int close_timeout = 30;

inline std::int64_t steady_milliseconds() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
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
  ws->getUserData()->route->owner->note_frame(ws, length);
}

/// The peer's Close frame or an error ends the connection, with this code, when what came before has been
/// dealt with. `is_peers`: it is a Close frame.
template <bool SSL>
void begin_ending(WebSocket<SSL> *ws, std::uint16_t code, std::string_view reason, bool is_peers) {
  SocketData *data = ws->getUserData();
  Ending &ending = data->advance(CloseState::peer_closed);
  ending.code = code;
  ending.reason = reason;
  ending.is_peers = is_peers;
  data->route->owner->ending(ws);
}

/// Closes the socket; the close handler reports what is known of its end, else 1006.
template <bool SSL>
void cut(WebSocket<SSL> *ws) {
  us_socket_close(SSL, reinterpret_cast<us_socket_t *>(ws), 0, nullptr);
}

/// Whether the connection lives: its socket is open, and its end was not reported. If not, it has no
/// SocketData any more. Code that holds a socket inside of a callback asks this; code that holds an id asks
/// ConnectionTable::find.
template <bool SSL>
bool is_alive(WebSocket<SSL> *ws) {
  return !us_socket_is_closed(SSL, reinterpret_cast<us_socket_t *>(ws)) && !is_shutting_down(*upgraded_data<SSL>(ws));
}

/// From now on the peer's silence counts.
template <bool SSL>
void restart_idle_timeout(WebSocket<SSL> *ws) {
  timed_out(*upgraded_data<SSL>(ws)) = false;
  Timeouts::set(SSL, reinterpret_cast<us_socket_t *>(ws), context_data<SSL>(ws)->idleTimeoutComponents.first);
}

/// For a connection that waits for the peer's Close frame: puts its deadline back where µWebSockets, at every
/// read and write, or we ourselves have set the timeout. After it the connection is cut, rather than pinged
/// first.
template <bool SSL>
void keep_deadline(WebSocket<SSL> *ws) {
  if (SocketData *data = ws->getUserData(); data->has_sent_close()) {
    std::int64_t left = std::max<std::int64_t>(data->ending->deadline - steady_milliseconds(), 1);
    Timeouts::set(SSL, reinterpret_cast<us_socket_t *>(ws), static_cast<unsigned int>((left + 999) / 1000));
    timed_out(*upgraded_data<SSL>(ws)) = true;
  }
}

/// Likewise. True: the time was up already, and the connection has been cut.
template <bool SSL>
bool enforce_deadline(WebSocket<SSL> *ws) {
  if (ws->getUserData()->ending->deadline <= steady_milliseconds()) {
    cut<SSL>(ws);
    return true;
  }
  keep_deadline<SSL>(ws);
  return false;
}

/// Our Close frame has been sent, or waits to be: from now on the deadline counts.
template <bool SSL>
void start_deadline(WebSocket<SSL> *ws, CloseState state) {
  ws->getUserData()->advance(state).deadline = steady_milliseconds() + close_timeout * 1000;
  enforce_deadline<SSL>(ws);
}

/// The end: close event and FIN. For a socket that is shutting down, µWebSockets ignores what still comes in.
template <bool SSL>
void complete(WebSocket<SSL> *ws) {
  bool has_left = ws->getUserData()->ending->has_left;
  is_shutting_down(*upgraded_data<SSL>(ws)) = true;
  us_socket_shutdown(SSL, reinterpret_cast<us_socket_t *>(ws));
  Timeouts::set(SSL, reinterpret_cast<us_socket_t *>(ws), context_data<SSL>(ws)->idleTimeoutComponents.second);
  context_data<SSL>(ws)->closeHandler(ws, close_code::abnormal_closure, {});
  ws->getUserData()->~SocketData();
  if (has_left) {
    cut<SSL>(ws);  // its FIN is not reported a second time
  }
}

/// Answers the peer's Close frame, or its error, with ours, and ends the connection when everything is
/// written.
template <bool SSL>
void finish(WebSocket<SSL> *ws) {
  const Ending &ending = *ws->getUserData()->ending;
  send_close_frame<SSL>(ws, ending.code, ending.reason);
  Corkable<SSL>::of(ws)->uncork();
  if (ws->getBufferedAmount() == 0) {
    complete<SSL>(ws);
    return;
  }
  start_deadline<SSL>(ws, CloseState::finishing);
}

/// Starts the closing handshake. If it has begun, sees to its end or its deadline.
template <bool SSL>
void begin_close(WebSocket<SSL> *ws, std::uint16_t code, std::string_view reason) {
  if (!is_alive<SSL>(ws)) {
    return;
  }
  SocketData *data = ws->getUserData();
  if (data->has_sent_close()) {
    if (data->close_state == CloseState::finishing && ws->getBufferedAmount() == 0) {
      complete<SSL>(ws);
    } else {
      enforce_deadline<SSL>(ws);
    }
    return;
  }
  if (data->close_state == CloseState::peer_closed) {
    return finish<SSL>(ws);  // the peer was first
  }
  send_close_frame<SSL>(ws, code, reason);
  start_deadline<SSL>(ws, CloseState::closing);
}

/// Ends the connection because of an error of the peer; 0 for one that is no matter of frames.
template <bool SSL>
void fail(WebSocket<SSL> *ws, std::uint16_t code) {
  if (code && is_alive<SSL>(ws) && !ws->getUserData()->has_sent_close()) {
    if (ws->getUserData()->close_state == CloseState::open) {
      begin_ending<SSL>(ws, code, {}, false);
    }
  } else {
    cut<SSL>(ws);
  }
}

/// A timeout has struck, for a connection that is not to be pinged first. The idle timeout is always in two
/// parts, also without the Ping between them: µSockets cannot count the longest one as a whole.
template <bool SSL>
void time_out(WebSocket<SSL> *ws) {
  if (!is_alive<SSL>(ws)) {
    cut<SSL>(ws);
  } else if (ws->getUserData()->has_sent_close()) {
    enforce_deadline<SSL>(ws);
  } else if (!std::exchange(timed_out(*upgraded_data<SSL>(ws)), true)) {
    Timeouts::set(SSL, reinterpret_cast<us_socket_t *>(ws), context_data<SSL>(ws)->idleTimeoutComponents.second);
  } else {
    cut<SSL>(ws);
  }
}

}  // namespace nws::frames
