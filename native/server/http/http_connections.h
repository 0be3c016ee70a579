// The HTTP half of a server: responses to what HttpReceiver reads, and the way to a WebSocket. Internal to
// websocket_server.cpp.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "server/http/exchange_owner.h"
#include "server/http/http_connection_state.h"
#include "server/http/http_receiver.h"
#include "server/http/response_writer.h"
#include "server/net/tls_context.h"
#include "server/uws/upstream.h"
#include "server/websocket/websocket_connections.h"
#include "server/websocket_server.h"

namespace nws {

template <bool SSL>
class HttpConnections final : public ExchangeOwner {
  using HttpResponse = uWS::HttpResponse<SSL>;
  using Writer = ResponseWriter<SSL>;
  using Exchange = typename HttpReceiver<SSL>::Exchange;
  using Connection = typename HttpReceiver<SSL>::Connection;

 public:
  HttpConnections(WebSocketConnections<SSL> &websockets, ServerEvents &events, EventLoop &loop,
                  std::chrono::seconds request_timeout)
      : websockets_(websockets), events_(events), receiver_(events, loop, request_timeout) {}

  HttpReceiver<SSL> &receiver() { return receiver_; }

  void start_listening() { is_listening_ = true; }
  /// From now on no connection waits for another request: each ends with its response.
  void stop_listening() { is_listening_ = false; }

  bool respond(ExchangeId id, const Response &response) override {
    Exchange *exchange = receiver_.find_awaiting_response(id);
    if (!exchange) {
      return false;
    }
    HttpResponse *http = exchange->response;
    Connection &connection = receiver_.connection_of(http);
    connection.is_last = connection.is_last || !is_listening_ || response.closes;
    bool body_is_complete = connection.body.complete();
    bool closes = connection.is_last;
    if (!body_is_complete && response.closes) {
      receiver_.linger(id, connection);
    } else {
      receiver_.responded(id, *exchange, connection);
    }
    if (closes && !body_is_complete) {
      Writer::whole_but_open(http, response);
      if (response.closes) {
        receiver_.end(http);
      }
    } else {
      Writer::whole(http, response, closes);
      if (closes) {
        receiver_.end(http);
      }
    }
    receiver_.keep_paused(http);
    receiver_.parse_held(reinterpret_cast<us_socket_t *>(http));
    return true;
  }

  bool begin_response(ExchangeId id, const Response &head) override {
    Exchange *exchange = receiver_.find_awaiting_response(id);
    if (!exchange || exchange->is_streaming) {
      return false;
    }
    exchange->is_streaming = true;
    exchange->is_chunked = !head.content_length;
    HttpResponse *http = exchange->response;
    Connection &connection = receiver_.connection_of(http);
    connection.is_last = connection.is_last || !is_listening_ || head.closes;
    http->onWritable([this, id, http](std::uintmax_t) {
      Writer::drain(http);
      Exchange *waiting = receiver_.find(id);
      if (waiting && waiting->awaits_writable && Writer::buffered(http) == 0) {
        waiting->awaits_writable = false;
        events_.on_writable(id);
      }
      return true;
    });
    Writer::begin(http, head, connection.is_last);
    receiver_.keep_paused(http);
    return true;
  }

  bool write(ExchangeId id, std::string_view content) override {
    Exchange *exchange = receiver_.find_awaiting_response(id);
    if (!exchange || !exchange->is_streaming || content.empty()) {
      return true;
    }
    Writer::piece(exchange->response, content, exchange->is_chunked);
    receiver_.keep_paused(exchange->response);
    exchange->awaits_writable = Writer::buffered(exchange->response) > 0;
    if (exchange->awaits_writable) {
      Writer::time_out(exchange->response, Writer::write_timeout);
    }
    return !exchange->awaits_writable;
  }

  void end_response(ExchangeId id, bool discards) override {
    Exchange *exchange = receiver_.find_awaiting_response(id);
    if (!exchange || !exchange->is_streaming) {
      return;
    }
    HttpResponse *http = exchange->response;
    Connection &connection = receiver_.connection_of(http);
    bool body_is_complete = connection.body.complete();
    bool is_chunked = exchange->is_chunked;
    connection.is_last = connection.is_last || discards;
    bool closes = connection.is_last;
    if (discards && !body_is_complete) {
      receiver_.linger(id, connection);
    } else {
      receiver_.responded(id, *exchange, connection);
    }
    Writer::finish(http, is_chunked, !closes);
    receiver_.keep_paused(http);
    if (!closes) {
      receiver_.parse_held(reinterpret_cast<us_socket_t *>(http));
    } else if (body_is_complete || discards) {
      receiver_.end(http);
    }
  }

  void abort(ExchangeId id) override {
    if (Exchange *exchange = receiver_.find(id)) {
      HttpResponse *http = exchange->response;
      receiver_.erase(id);
      us_socket_close(SSL, reinterpret_cast<us_socket_t *>(http), 0, nullptr);
    }
  }

  void pause_body(ExchangeId id) override {
    Exchange *exchange = receiver_.find(id);
    if (exchange && !receiver_.connection_of(exchange->response).body.complete()) {
      receiver_.connection_of(exchange->response).body_paused = true;
      receiver_.keep_paused(exchange->response);
    }
  }

  void resume_body(ExchangeId id) override {
    Exchange *exchange = receiver_.find(id);
    if (!exchange || receiver_.connection_of(exchange->response).body.complete()) {
      return;
    }
    HttpResponse *http = exchange->response;
    Connection &connection = receiver_.connection_of(http);
    if (std::exchange(connection.expects_continue, false) && !exchange->is_responded && !exchange->is_streaming) {
      Writer::go_on(http);
    }
    connection.body_paused = false;
    receiver_.start_reading(reinterpret_cast<us_socket_t *>(http), connection);
    receiver_.parse_held(reinterpret_cast<us_socket_t *>(http));
  }

  std::string peer_certificate(ExchangeId id) override {
    Exchange *exchange = receiver_.find(id);
    if constexpr (SSL) {
      return exchange ? valid_certificate(static_cast<ssl_st *>(exchange->response->getNativeHandle())) : std::string();
    }
    return {};
  }

  bool is_flushed() override { return receiver_.is_flushed(); }

  ConnectionId accept(ExchangeId id, std::size_t route, std::string_view protocol, std::span<const Header> headers,
                      const std::optional<CompressionAgreement> &compression,
                      const std::optional<ConnectionLimits> &limits) override {
    Exchange *found = receiver_.find_awaiting_response(id);
    if (!found || found->key.empty() || !websockets_.has_route(route)) {
      return 0;
    }
    if (websockets_.full()) {
      respond(id, {.status = "503 Service Unavailable", .headers = {}, .content_length = 0, .body = ""});
      return 0;
    }
    if (!receiver_.connection_of(found->response).body.complete()) {
      respond(id, {.status = "400 Bad Request", .headers = {}, .content_length = 0, .body = "", .closes = true});
      return 0;
    }
    Exchange exchange = std::move(*found);
    receiver_.erase(id);
    // The upgrade moves the socket. Frames may have come with the request, although the client should wait
    // for the response.
    std::string early = receiver_.take_held(exchange.response);
    ConnectionId opened = websockets_.open(exchange.response, route, protocol, headers, exchange.key, compression, limits);
    if (!early.empty()) {
      websockets_.receive(opened, early);
    }
    return opened;
  }

 private:
  WebSocketConnections<SSL> &websockets_;
  ServerEvents &events_;
  HttpReceiver<SSL> receiver_;
  bool is_listening_ = true;
};

}  // namespace nws
