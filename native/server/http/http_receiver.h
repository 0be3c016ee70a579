// Receives requests: the connections of a server until they become WebSockets, their requests, and the bodies
// of those. Internal to websocket_server.cpp.
//
// Long because heads, bodies and what waits behind them are states of one connection, and each can turn into
// the others.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "server/http/http_connection_state.h"
#include "server/http/response_writer.h"
#include "server/net/endpoint.h"
#include "server/uws/read_control.h"
#include "server/uws/upstream.h"
#include "server/websocket_server.h"

namespace nws {

/// Lasts until the response is whole and the request's body has come.
template <bool SSL>
struct HttpExchange {
  uWS::HttpResponse<SSL> *response;
  /// Of an upgrade: Sec-WebSocket-Key. Empty for anything else.
  std::string key;
  bool is_responded = false;
  bool is_streaming = false;
  /// Of a streamed response: it has no length.
  bool is_chunked = false;
  bool awaits_writable = false;
};

/// The connections of one server, and the requests on them. `receive` is where their data comes.
template <bool SSL>
class HttpReceiver final : private TurnTaker {
  using App = uWS::TemplatedApp<SSL>;
  using HttpResponse = uWS::HttpResponse<SSL>;
  using Writer = ResponseWriter<SSL>;

 public:
  using Connection = HttpConnectionState::Connection;

  using Exchange = HttpExchange<SSL>;

  HttpReceiver(ServerEvents &events, EventLoop &loop, std::chrono::seconds request_timeout)
      : events_(events),
        turns_(loop.turns()),
        deadlines_(loop.uv(), request_timeout, [this](void *socket) { expired(static_cast<us_socket_t *>(socket)); }) {}
  ~HttpReceiver() { turns_.forget(this); }
  HttpReceiver(const HttpReceiver &) = delete;
  HttpReceiver &operator=(const HttpReceiver &) = delete;

  void set_up(App &app) {
    app.filter([this](HttpResponse *http, int change) {
      if (change > 0) {
        Connection &connection = connections_.try_emplace(http).first->second;
        newest_ = http;
        connection.number = ++last_connection_;
        connection.remote = std::exchange(announced_remote_, {});
        connection.local = std::exchange(announced_local_, {});
        connection.proxied_address = std::exchange(announced_proxied_, {});
      } else {
        closed(http);
      }
    });
    app.any("/*", [this](HttpResponse *http, uWS::HttpRequest *request) { receive_request(http, request); });
  }

  /// Of the connection that comes next: its two ends, and what the PROXY header has told.
  void announce(Endpoint remote, Endpoint local, std::string_view proxied_address) {
    announced_remote_ = std::move(remote);
    announced_local_ = std::move(local);
    announced_proxied_ = proxied_address;
  }

  /// By our own list: a TLS socket that waits for its turn to shake hands is in none of µWebSockets' (loop.c,
  /// low priority).
  void close() {
    std::vector<void *> sockets;
    for (const auto &[socket, connection] : connections_) {
      sockets.push_back(socket);
    }
    for (void *socket : sockets) {
      us_socket_close(SSL, static_cast<us_socket_t *>(socket), 0, nullptr);
    }
  }

  /// Whether the clients have all that was sent to them, or their systems have.
  bool is_flushed() {
    return std::all_of(connections_.begin(), connections_.end(), [](const auto &entry) {
      return frames::Corkable<SSL>::of(entry.first)->getBufferedAmount() == 0 && !ReadControl::has_unacknowledged(entry.first);
    });
  }

  /// Data on an HTTP connection: see HttpConnectionState.
  us_socket_t *receive(us_socket_t *socket, char *data, std::size_t length) {
    auto found = connections_.find(socket);
    if (found == connections_.end() || us_socket_is_shut_down(SSL, socket) || found->second.is_lingering) {
      return socket;
    }
    Connection &connection = found->second;
    if (!connection.body.complete() && !connection.body_paused && connection.held.empty()) {
      std::size_t done = read_body(socket, connection, data, length);
      found = connections_.find(socket);
      if (found == connections_.end()) {
        return socket;
      }
      data += done;
      length -= done;
    }
    if (is_free(socket, found->second) && HttpConnectionState::is_whole_head({data, length}) &&
        may_begin(socket, found->second)) {
      read_head(socket, found->second, data, length);  // as most come: it need not be copied
    } else {
      found->second.held.append(data, length);
      parse_held(socket);
    }
    found = connections_.find(socket);
    if (found == connections_.end()) {
      return socket;
    }
    found->second.is_full = waiting(found->second) > HttpConnectionState::max_held;
    keep_paused(reinterpret_cast<HttpResponse *>(socket));
    watch_deadline(socket, found->second);
    return socket;
  }

  /// What another server has read of the connection that was opened last: the head of a request, and what
  /// came behind it. Returns the exchange; 0 when the request was refused.
  ExchangeId receive_adopted(std::string_view input) {
    connections_.at(newest_).is_adopted = true;
    Padded bytes(input);
    receive(static_cast<us_socket_t *>(newest_), bytes.data(), input.size());
    auto found = connections_.find(newest_);
    return found == connections_.end() ? 0 : found->second.exchange;
  }

  void take_turn(void *socket, std::uint32_t number) override {
    auto found = connections_.find(socket);
    if (found == connections_.end() || found->second.number != number || !found->second.waits) {
      return;
    }
    found->second.waits = false;
    auto *s = static_cast<us_socket_t *>(socket);
    parse_held(s);
    if (found = connections_.find(socket); found != connections_.end()) {
      start_reading(s, found->second);
    }
  }

  Exchange *find(ExchangeId id) {
    auto found = exchanges_.find(id);
    return found == exchanges_.end() ? nullptr : &found->second;
  }
  Exchange *find_awaiting_response(ExchangeId id) {
    Exchange *exchange = find(id);
    return exchange && !exchange->is_responded ? exchange : nullptr;
  }
  Connection &connection_of(HttpResponse *http) { return connections_.at(http); }
  void erase(ExchangeId id) { exchanges_.erase(id); }
  /// Of a connection that becomes something else.
  std::string take_held(HttpResponse *http) {
    ReadControl::start(SSL, http, 0);
    return connections_.extract(http).mapped().held.take();
  }

  /// Before anything is written, which may end the connection.
  void responded(ExchangeId id, Exchange &exchange, Connection &connection) {
    exchange.is_responded = true;
    if (connection.body.complete()) {
      connection.exchange = 0;
      exchanges_.erase(id);
    }
  }

  /// Throws away what still comes. The exchange has ended, but for its response, behind which `end` is to be
  /// called.
  void linger(ExchangeId id, Connection &connection) {
    ReadControl::start(SSL, exchanges_.at(id).response, Writer::write_timeout);
    connection.is_lingering = true;
    connection.body_paused = false;
    connection.held.clear();
    connection.exchange = 0;
    exchanges_.erase(id);
  }

  /// The connection has got its last response. As soon as that is written, the server's side ends. The
  /// connection stays until the client has ended its side too, for a while: once it were closed, whatever the
  /// client sends would reset it, and lose what is on its way to the client (RFC 9112, section 9.6). What
  /// still comes is thrown away.
  void end(HttpResponse *http) {
    auto *socket = reinterpret_cast<us_socket_t *>(http);
    Connection &connection = connections_.at(http);
    connection.forget_input();
    connection.is_lingering = true;
    ReadControl::start(SSL, socket, Writer::write_timeout);
    if (Writer::buffered(http) == 0) {
      end_written(socket);
      return;
    }
    http->onWritable([this, http](std::uintmax_t) {
      Writer::drain(http);
      if (Writer::buffered(http) == 0) {
        end_written(reinterpret_cast<us_socket_t *>(http));
      }
      return true;
    });
  }

  /// After a write, as read_control.h explains; and a whole response has set the time for the next request.
  void keep_paused(HttpResponse *http) {
    auto found = connections_.find(http);
    if (found != connections_.end() && is_paused(found->second)) {
      bool writes = Writer::buffered(http) > 0;
      ReadControl::stop_until_end(SSL, http, writes);
      Writer::time_out(http, writes ? Writer::write_timeout : 0);
    }
  }

  /// The client has sent FIN. Behind input that is not read it means something only to a request that waits
  /// for nothing but its handler: everything else is still to be read in its time, and then the FIN is, too.
  /// There a request without a whole response is aborted. Earlier responses are still written, and then
  /// the connection ends. May be called again: a FIN that has been found is found whenever the socket is
  /// read.
  us_socket_t *ended(us_socket_t *socket) {
    auto found = connections_.find(socket);
    if (found == connections_.end() || ReadControl::is_reset(socket)) {
      return us_socket_close(SSL, socket, 0, nullptr);
    }
    Connection &connection = found->second;
    bool awaits_response = connection.exchange != 0 && connection.body.complete();
    if (is_paused(connection) && !awaits_response) {
      return socket;
    }
    connection.has_ended = !ReadControl::has_unread(socket);
    if (connection.has_ended && buffered(socket) == 0) {
      end_written(socket);
      return socket;
    }
    if (!connection.is_lingering && !awaits_room(socket, connection)) {
      connection.deadline.leave();
      refuse(socket, "");
    }
    if (found = connections_.find(socket); found != connections_.end() && found->second.has_ended) {
      ReadControl::stop_at_end(SSL, socket, buffered(socket) > 0);
    }
    return socket;
  }

  /// The socket was writable.
  us_socket_t *written(us_socket_t *socket) {
    auto found = connections_.find(socket);
    if (found != connections_.end() && (is_paused(found->second) || found->second.has_ended) && ReadControl::is_reset(socket)) {
      return us_socket_close(SSL, socket, 0, nullptr);
    }
    if (found != connections_.end() && is_paused(found->second)) {
      keep_paused(reinterpret_cast<HttpResponse *>(socket));
    }
    // The next request may have waited for the client to take its responses.
    if (found != connections_.end() && waiting(found->second) > 0) {
      parse_held(socket);
      found = connections_.find(socket);
    }
    if (found != connections_.end() && found->second.has_ended && !is_paused(found->second)) {
      if (found->second.is_lingering || awaits_room(socket, found->second)) {
        ReadControl::stop_at_end(SSL, socket, buffered(socket) > 0);
      } else {
        // The request that has begun may get its response before the FIN is found again.
        ReadControl::unpark(SSL, socket, buffered(socket) > 0);
      }
    }
    return socket;
  }

  /// Reads the client, unless there is another reason not to.
  static void start_reading(us_socket_t *socket, const Connection &connection) {
    if (!is_paused(connection)) {
      bool is_idle = reinterpret_cast<HttpResponse *>(socket)->hasResponded();
      ReadControl::start(SSL, socket, !connection.body.complete() ? body_timeout : is_idle ? Writer::write_timeout : 0);
    }
  }

  /// Gives the parser what waits, as far as it has come, and as far as the connection is free for it.
  void parse_held(us_socket_t *socket) {
    while (parse_next(socket)) {
    }
    auto found = connections_.find(socket);
    if (found != connections_.end() && found->second.is_full && waiting(found->second) <= HttpConnectionState::max_held) {
      found->second.is_full = false;
      start_reading(socket, found->second);
    }
    if (found != connections_.end()) {
      // A FIN that was seen before means something else when a request has begun.
      keep_paused(reinterpret_cast<HttpResponse *>(socket));
      watch_deadline(socket, found->second);
    }
  }

 private:
  static bool is_paused(const Connection &connection) { return connection.body_paused || connection.is_full || connection.waits; }

  static std::size_t buffered(us_socket_t *socket) { return Writer::buffered(reinterpret_cast<HttpResponse *>(socket)); }

  void end_written(us_socket_t *socket) {
    us_socket_shutdown(SSL, socket);
    if (!connections_.at(socket).has_ended || ReadControl::has_unread(socket)) {
      Timeouts::set(SSL, socket, Writer::write_timeout);
    } else {
      us_socket_close(SSL, socket, 0, nullptr);
    }
  }

  /// Ends a connection of which no further request can be read. `status` is that of the response to the one
  /// that was being read; empty where one has begun.
  void refuse(us_socket_t *socket, std::string_view status) {
    auto *http = reinterpret_cast<HttpResponse *>(socket);
    ExchangeId exchange = connections_.at(socket).exchange;
    if (!status.empty()) {
      Writer::refusal(http, status);
    }
    end(http);
    if (exchanges_.erase(exchange)) {
      events_.on_abort(exchange);
    }
  }

  /// Whether a request may be read as it comes.
  static bool is_free(us_socket_t *socket, const Connection &connection) {
    return connection.held.empty() && connection.body.complete() && reinterpret_cast<HttpResponse *>(socket)->hasResponded();
  }

  /// Whether a request may begin now. If not, it waits for the client to take what it was sent, or for a
  /// turn.
  bool may_begin(us_socket_t *socket, Connection &connection) {
    if (!has_room(socket)) {
      return false;
    }
    if (connection.is_adopted || turns_.take_request(connection.share)) {
      return true;
    }
    connection.waits = true;
    turns_.wait({this, socket, connection.number}, connection.share.begun > 0);
    keep_paused(reinterpret_cast<HttpResponse *>(socket));
    return false;
  }

  /// Whether the client has taken so much of its responses that the next request may begin.
  static bool has_room(us_socket_t *socket) { return buffered(socket) <= HttpConnectionState::max_unread; }
  /// Whether that is what a request waits for.
  static bool awaits_room(us_socket_t *socket, const Connection &connection) {
    return connection.exchange == 0 && waiting(connection) > 0 && !has_room(socket);
  }

  static std::size_t waiting(const Connection &connection) { return connection.held.size() - connection.parsed; }

  /// False when no more can be done for now.
  bool parse_next(us_socket_t *socket) {
    auto found = connections_.find(socket);
    if (found == connections_.end() || found->second.is_lingering || found->second.waits || waiting(found->second) == 0) {
      return false;
    }
    Connection &connection = found->second;
    if (connection.body.complete()) {
      return reinterpret_cast<HttpResponse *>(socket)->hasResponded() && parse_head(socket, connection);
    }
    if (connection.body_paused) {
      return false;
    }
    // The event may end the connection, and would take the bytes with it.
    HeldInput held = std::exchange(connection.held, {});
    held.drop(read_body(socket, connection, held.data(), held.size()));
    if (found = connections_.find(socket); found != connections_.end() && !found->second.is_lingering) {
      found->second.held = std::move(held);
    }
    return true;
  }

  /// Once as much is parsed as can be: of what is a part of a request, the rest must come in time.
  void watch_deadline(us_socket_t *socket, Connection &connection) {
    bool has_part_of_head = connection.searched > 0;
    if (!connection.body.complete() || has_part_of_head) {
      connection.deadline.take(deadlines_, socket);
    }
  }

  void expired(us_socket_t *socket) {
    auto found = connections_.find(socket);
    if (found == connections_.end()) {
      return;
    }
    if (found->second.is_lingering) {
      us_socket_close(SSL, socket, 0, nullptr);
      return;
    }
    Exchange *exchange = find(found->second.exchange);
    bool has_begun = exchange && (exchange->is_responded || exchange->is_streaming);
    refuse(socket, has_begun ? "" : "408 Request Timeout");
  }

  /// Seconds in which more of a body must come while its handler reads, or the server drains it.
  static constexpr unsigned body_timeout = 30;

  void closed(HttpResponse *http) {
    auto found = connections_.find(http);
    if (found == connections_.end()) {
      return;
    }
    ExchangeId exchange = found->second.exchange;
    connections_.erase(found);
    if (exchanges_.erase(exchange)) {
      events_.on_abort(exchange);
    }
  }

  /// The connection may have got its last response afterwards, or be gone.
  void parse(us_socket_t *socket, char *data, std::size_t length) {
    bool has_ended = false;
    {
      ParserScope scope(socket, has_ended);
      ContextHandlers::of(SSL).http.data(socket, data, static_cast<int>(length));
    }
    if (has_ended) {
      refuse(socket, "");
    }
  }

  /// False when no more can be done for now.
  bool parse_head(us_socket_t *socket, Connection &connection) {
    if (connection.searched == 0) {
      connection.held.drop(HttpConnectionState::empty_lines(connection.held.view()));
      if (connection.held.empty()) {
        return false;
      }
      if (!HttpConnectionState::may_begin_request(connection.held.view())) {
        refuse(socket, Writer::bad_request);
        return false;
      }
      if (connection.held.view() == "\r") {
        return false;
      }
    }
    std::string_view held = connection.held.view();
    std::size_t length = HttpConnectionState::head_length(held, connection.searched);
    if (length == 0) {
      return parse_incomplete(socket, connection);
    }
    if (!may_begin(socket, connection) || !frame_body(socket, connection, held.substr(0, length))) {
      return false;
    }
    Padded head(held.substr(connection.parsed, length - connection.parsed));
    connection.held.drop(length);
    connection.parsed = connection.searched = 0;
    parse_framed(socket, connection, head.data(), static_cast<std::size_t>(head.length()));
    return true;
  }

  /// A head that has not come whole may be wrong already. The parser begins anew with each piece that it is
  /// given, so it gets the next one when as much has come again.
  bool parse_incomplete(us_socket_t *socket, Connection &connection) {
    std::string_view held = connection.held.view();
    if (HttpConnectionState::has_bare_lf(held, connection.searched)) {
      refuse(socket, Writer::bad_request);
      return false;
    }
    connection.searched = held.size();
    if (held.size() <= HttpConnectionState::max_head && waiting(connection) < connection.parsed) {
      return false;
    }
    Padded piece(held.substr(connection.parsed));
    connection.parsed = held.size();
    parse(socket, piece.data(), static_cast<std::size_t>(piece.length()));
    return false;
  }

  /// A whole head, in memory with the room around it that the parser needs.
  void read_head(us_socket_t *socket, Connection &connection, char *head, std::size_t length) {
    if (frame_body(socket, connection, {head, length})) {
      parse_framed(socket, connection, head, length);
    }
  }

  /// Finds out what follows a head. False where the head does not tell: the connection has then been refused.
  bool frame_body(us_socket_t *socket, Connection &connection, std::string_view head) {
    BodyFraming framing = BodyFraming::of(head);
    if (framing.kind == BodyFraming::Kind::doubtful) {
      refuse(socket, Writer::bad_request);
      return false;
    }
    connection.body = RequestBody(framing);
    if (connection.body.complete()) {
      connection.deadline.leave();
    }
    connection.expects_continue = !connection.body.complete() && HttpConnectionState::expects_continue(head);
    return true;
  }

  void parse_framed(us_socket_t *socket, Connection &connection, char *head, std::size_t length) {
    ExchangeId last = last_exchange_;
    parse(socket, head, length);
    if (auto found = connections_.find(socket); found == connections_.end() || found->second.is_lingering) {
      return;  // refused
    }
    if (last_exchange_ == last) {
      // The parser waits for more, although the head is whole: its first line has no version.
      refuse(socket, Writer::bad_request);
    } else if (!connection.body.complete()) {
      // The client may be waiting for us.
      Timeouts::set(SSL, socket, connection.expects_continue ? 0 : body_timeout);
    }
  }

  /// Returns how much of the data is done with. The connection may be gone afterwards.
  std::size_t read_body(us_socket_t *socket, Connection &connection, char *data, std::size_t size) {
    ExchangeId id = connection.exchange;
    auto exchange = exchanges_.find(id);
    bool is_chunked = connection.body.is_chunked();
    RequestBody::Progress progress = connection.body.read(data, size);
    bool is_last = connection.body.complete();
    if (exchange == exchanges_.end() || connection.body.failed()) {
      bool has_begun = exchange == exchanges_.end() || exchange->second.is_responded || exchange->second.is_streaming;
      refuse(socket, has_begun ? "" : Writer::bad_request);
      return size;
    }
    if ((progress.content > 0 || is_last) && !events_.on_body(id, {data, progress.content}, is_last)) {
      us_socket_close(SSL, socket, 0, nullptr);
      return size;
    }
    bool is_responded = exchange->second.is_responded;
    connection.expects_continue = false;
    Timeouts::set(SSL, socket, !is_last ? body_timeout : is_responded ? Writer::write_timeout : 0);
    if (is_last) {
      connection.deadline.leave();
      connection.body_paused = false;
      if (is_responded) {
        connection.exchange = 0;
        exchanges_.erase(exchange);
      }
      if (is_responded && connection.is_last) {
        end(reinterpret_cast<HttpResponse *>(socket));
        return size;
      }
    }
    // The parser counts along. Of chunks it sees no more than their end.
    if (!is_chunked) {
      parse(socket, data, progress.content);
    } else if (is_last) {
      Padded end("0\r\n\r\n");
      parse(socket, end.data(), static_cast<std::size_t>(end.length()));
    }
    return progress.consumed;
  }

  /// The parser takes bytes beyond ASCII at the ends of a value for white space, where char is signed
  /// (HttpParser.h, getHeaders). The value still stands in its memory, between colon and CR.
  static std::string_view whole_value(std::string_view value) {
    const char *begin = value.data();
    const char *end = begin + value.length();
    while (begin[-1] != ':') {
      begin--;
    }
    while (*end != '\r') {
      end++;
    }
    return BodyFraming::trimmed({begin, end});
  }

  void receive_request(HttpResponse *http, uWS::HttpRequest *request) {
    ExchangeId id = ++last_exchange_ ? last_exchange_ : ++last_exchange_;
    Exchange &exchange = exchanges_[id];
    exchange.response = http;
    // 16 bytes in Base64.
    if (std::string_view key = request->getHeader("sec-websocket-key"); key.length() == 24) {
      exchange.key = key;
    }
    Connection &connection = connections_.at(http);
    connection.exchange = id;
    // "close", as HttpContext.h reads it. Who accepted an adopted connection expects no more requests here.
    connection.is_last = connection.is_adopted || request->getHeader("connection").length() == 5;
    // It must be there; `closed` tells who has gone.
    http->onAborted([] {});
    headers_.clear();
    for (auto [name, value] : *request) {
      headers_.emplace_back(name, whole_value(value));
      connection.is_last = connection.is_last || (name == "connection" && HttpConnectionState::says_close(value));
    }
    events_.on_request(id, {.method = request->getCaseSensitiveMethod(),
                            .url = request->getFullUrl(),
                            .remote_address = connection.remote.address,
                            .remote_port = connection.remote.port,
                            .local_address = connection.local.address,
                            .local_port = connection.local.port,
                            .proxied_address = connection.proxied_address,
                            .headers = headers_,
                            .has_body = !connection.body.complete()});
  }

  ServerEvents &events_;
  Turns &turns_;
  RequestDeadlines deadlines_;
  std::unordered_map<ExchangeId, Exchange> exchanges_;
  /// Every connection that is not a WebSocket yet.
  std::unordered_map<void *, Connection> connections_;
  void *newest_ = nullptr;
  std::vector<Header> headers_;
  Endpoint announced_remote_;
  Endpoint announced_local_;
  std::string announced_proxied_;
  ExchangeId last_exchange_ = 0;
  std::uint32_t last_connection_ = 0;
};

}  // namespace nws
