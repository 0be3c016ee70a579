// The HTTP half of a server: its connections until they become WebSockets, requests and answers. Internal to
// websocket_server.cpp.
#pragma once

#include "http_pipeline.h"  // before App.h

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "address_text.h"
#include "websocket_server.h"
#include "websocket_side.h"

namespace nws {

template <bool SSL>
class HttpSide {
  using App = uWS::TemplatedApp<SSL>;
  using HttpResponse = uWS::HttpResponse<SSL>;
  using OnData = HttpPipeline::OnData;

  struct Exchange {
    HttpResponse *response;
    /// Of an upgrade: Sec-WebSocket-Key. Empty for anything else.
    std::string key;
  };

 public:
  HttpSide(WebSocketSide<SSL> &websockets, ServerEvents &events, Counters &counters)
      : websockets_(websockets), events_(events), counters_(counters) {}

  void set_up(App &app) {
    app.filter([this](HttpResponse *http, int change) {
      if (change > 0) {
        connections_.try_emplace(http).first->second.proxied_address = std::exchange(announced_address_, {});
      } else {
        connections_.erase(http);
      }
    });
    app.any("/*", [this](HttpResponse *http, uWS::HttpRequest *request) { receive_request(http, request); });
  }

  /// Of the connection that comes next: what the PROXY header has told.
  void announce(std::string_view proxied_address) { announced_address_ = proxied_address; }

  /// From now on nobody should stay for another request: the connection ends with the answer.
  void stop_listening() { is_listening_ = false; }

  /// By our own list: a TLS socket that waits for its turn to shake hands is in none of µWebSockets' (loop.c, low priority).
  void close() {
    std::vector<void *> sockets;
    for (const auto &[socket, connection] : connections_) {
      sockets.push_back(socket);
    }
    for (void *socket : sockets) {
      us_socket_close(SSL, static_cast<us_socket_t *>(socket), 0, nullptr);
    }
  }

  bool is_flushed() {
    return std::all_of(connections_.begin(), connections_.end(),
                       [](const auto &entry) { return frames::Corkable<SSL>::of(entry.first)->getBufferedAmount() == 0; });
  }

  /// Data on an HTTP connection: see HttpPipeline.
  us_socket_t *receive(us_socket_t *socket, char *data, std::size_t length) {
    OnData parse = HttpPipeline::registered(SSL).http;
    HttpPipeline::Connection &connection = connections_[socket];
    if (us_socket_is_shut_down(SSL, socket)) {
      return socket;
    }
    if (connection.transparent) {
      return parse(socket, data, static_cast<int>(length));
    }
    if (connection.body_left > 0) {
      std::size_t ours = static_cast<std::size_t>(std::min<std::uint64_t>(connection.body_left, length));
      connection.body_left -= ours;
      connection.held.assign(data + ours, length - ours);  // first, because the parser writes behind what it is given
      parse(socket, data, static_cast<int>(ours));
      parse_held(socket);
      return socket;
    }
    connection.held.append(data, length);
    parse_held(socket);
    auto found = connections_.find(socket);
    if (found != connections_.end() && found->second.held.size() - found->second.parsed > HttpPipeline::max_held) {
      us_socket_close(SSL, socket, 0, nullptr);
    }
    return socket;
  }

  bool respond(ExchangeId id, const Response &response) {
    auto found = exchanges_.find(id);
    if (found == exchanges_.end()) {
      return false;
    }
    HttpResponse *http = found->second.response;
    exchanges_.erase(found);
    write_response(http, response);
    parse_held(reinterpret_cast<us_socket_t *>(http));
    return true;
  }

  ConnectionId accept(ExchangeId id, std::size_t route, std::string_view protocol, std::span<const Header> headers,
                      const std::optional<CompressionAgreement> &compression) {
    auto found = exchanges_.find(id);
    if (found == exchanges_.end() || found->second.key.empty() || !websockets_.has_route(route)) {
      return 0;
    }
    Exchange exchange = std::move(found->second);
    exchanges_.erase(found);
    if (websockets_.full()) {
      write_response(exchange.response, {.status = "503 Service Unavailable", .headers = {}, .body = ""});
      return 0;
    }
    // The upgrade moves the socket. Frames may have come with the request, although the client should wait for the answer.
    auto node = connections_.extract(exchange.response);
    ConnectionId opened = websockets_.open(exchange.response, route, protocol, headers, exchange.key, compression);
    if (!node.empty() && !node.mapped().held.empty()) {
      websockets_.receive(opened, node.mapped().held);
    }
    return opened;
  }

 private:
  /// Gives the parser the next of the requests that wait, as far as it has come, if the connection is free for it.
  void parse_held(us_socket_t *socket) {
    for (;;) {
      auto found = connections_.find(socket);
      if (found == connections_.end() || !reinterpret_cast<HttpResponse *>(socket)->hasResponded()) {
        return;
      }
      HttpPipeline::Connection &connection = found->second;
      if (connection.held.size() == connection.parsed) {
        return;
      }
      HttpPipeline::Request first = HttpPipeline::first_request(connection.held);
      std::size_t end = connection.held.size();
      connection.transparent = first.is_chunked;
      if (first.head > 0 && !first.is_chunked) {
        std::uint64_t body = std::min<std::uint64_t>(first.body, end - first.head);
        connection.body_left = first.body - body;
        end = first.head + static_cast<std::size_t>(body);
      }
      Padded request(std::string_view(connection.held).substr(connection.parsed, end - connection.parsed));
      if (first.head > 0) {
        connection.held.erase(0, end);
        connection.parsed = 0;
      } else {
        connection.parsed = end;
      }
      HttpPipeline::registered(SSL).http(socket, request.data(), request.length());
    }
  }

  void receive_request(HttpResponse *http, uWS::HttpRequest *request) {
    ExchangeId id = ++last_exchange_ ? last_exchange_ : ++last_exchange_;
    Exchange &exchange = exchanges_[id];
    exchange.response = http;
    if (std::string_view key = request->getHeader("sec-websocket-key"); key.length() == 24) {  // 16 bytes in Base64
      exchange.key = key;
    }
    http->onAborted([this, id] {
      exchanges_.erase(id);
      events_.on_abort(id);
    });
    headers_.clear();
    for (auto header : *request) {
      headers_.emplace_back(header);
    }
    std::string remote_address = address_text(http->getRemoteAddress());
    events_.on_request(id, {request->getCaseSensitiveMethod(), request->getFullUrl(), remote_address,
                            connections_[http].proxied_address, headers_});
  }

  void write_response(HttpResponse *http, const Response &response) {
    http->cork([&] {
      http->writeStatus(response.status);
      for (const Header &header : response.headers) {
        http->writeHeader(header.first, header.second);
      }
      bool last = !is_listening_;
      if (!response.body) {
        http->endWithoutBody(std::nullopt, last);
      } else if (response.head_only) {
        http->endWithoutBody(response.body->length(), last);
      } else {
        http->end(*response.body, last);
      }
    });
  }

  WebSocketSide<SSL> &websockets_;
  ServerEvents &events_;
  Counters &counters_;
  bool is_listening_ = true;
  std::unordered_map<ExchangeId, Exchange> exchanges_;
  /// Every connection that is not a WebSocket yet.
  std::unordered_map<void *, HttpPipeline::Connection> connections_;
  std::vector<Header> headers_;
  std::string announced_address_;
  ExchangeId last_exchange_ = 0;
};

}  // namespace nws
