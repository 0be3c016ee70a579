// The WebSocket half of a server: its routes' contexts and its connections. Internal to websocket_server.cpp.
#pragma once

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "server/counters.h"
#include "server/uws/read_control.h"
#include "server/uws/upstream.h"
#include "server/websocket/close_codes.h"
#include "server/websocket/closing_handshake.h"
#include "server/websocket/frame_reader.h"
#include "server/websocket/publishing.h"
#include "server/websocket/sending.h"
#include "server/websocket_server.h"

namespace nws {

/// Owns the connections from their handshake on.
template <bool SSL>
class WebSocketConnections final : public ConnectionOwner {
  using WebSocket = frames::WebSocket<SSL>;
  using HttpResponse = uWS::HttpResponse<SSL>;
  using ContextData = frames::ContextData<SSL>;

 public:
  WebSocketConnections(ConnectionTable &connections, Turns &turns, std::vector<RouteOptions> routes, ServerEvents &events,
                       Counters &counters)
      : connections_(connections),
        reader_(connections, turns),
        events_(events),
        counters_(counters),
        publishing_(connections, events, counters, compression_, order_),
        sending_(connections, events, counters, compression_, order_) {
    for (RouteOptions &route : routes) {
      routes_.push_back({std::move(route), this, &reader_.turn()});
    }
  }

  /// After `close`.
  ~WebSocketConnections() {
    for (us_socket_context_t *context : contexts_) {
      static_cast<ContextData *>(us_socket_context_ext(SSL, context))->~ContextData();
      us_socket_context_free(SSL, context);
    }
  }

  /// A WebSocket route here is a set of limits: the handler of on_request decides which route a request
  /// takes.
  void set_up(us_socket_context_t *http_context, TopicTree *topics) {
    for (const Route &route : routes_) {
      contexts_.push_back(make_context(route.options, http_context, topics));
    }
  }

  void close() {
    for (us_socket_context_t *context : contexts_) {
      us_socket_context_close(SSL, context);
    }
  }

  Publishing<SSL> &publishing() { return publishing_; }
  bool has_route(std::size_t route) const { return route < routes_.size(); }
  bool full() const { return connections_.full(); }

  /// Makes a WebSocket of the connection that the response belongs to, which is gone afterwards.
  ConnectionId open(HttpResponse *http, std::size_t route, std::string_view protocol, std::span<const Header> headers,
                    std::string_view key, const std::optional<CompressionAgreement> &compression,
                    const std::optional<ConnectionLimits> &limits) {
    ConnectionLimits own = limits.value_or(ConnectionLimits::of(routes_[route].options));
    ConnectionId id = connections_.reserve(routes_[route], own);
    http->cork([&] {
      http->writeStatus("101 Switching Protocols");
      for (const Header &header : headers) {
        http->writeHeader(header.first, header.second);
      }
      if (compression) {
        http->writeHeader("Sec-WebSocket-Extensions", compression->extension);
      }
      SocketData data;
      data.route = &routes_[route];
      data.id = id;
      data.max_payload_length = own.max_payload_length;
      if (routes_[route].options.compression && compression) {
        data.compression = std::make_unique<Compression>(compression_, compression->windows, compression->options);
      }
      http->template upgrade<SocketData>(std::move(data), key, protocol, {}, contexts_[route]);
    });
    return id;
  }

  /// Frames that came with the request for the handshake.
  void receive(ConnectionId id, std::string_view frames) {
    if (auto *entry = connections_.find(id)) {
      Padded padded(frames);
      receive(entry->socket, padded.data(), frames.length());
    }
  }

  // ---- ConnectionOwner ----

  [[gnu::hot]] void send(void *socket, std::string_view payload, OpCode op_code, Compress compress, bool report_sent) override {
    sending_.send(static_cast<WebSocket *>(socket), payload, op_code, compress, report_sent);
  }
  void report(void *socket) override {
    auto *ws = static_cast<WebSocket *>(socket);
    sending_.report(ws, ws->getUserData());
  }
  void begin_message(void *socket) override { sending_.begin_message(static_cast<WebSocket *>(socket)); }
  bool ready_for_fragment(void *socket) override { return sending_.ready_for_fragment(static_cast<WebSocket *>(socket)); }
  void send_fragment(void *socket, std::string_view payload, const Fragment &fragment) override {
    sending_.send_fragment(static_cast<WebSocket *>(socket), payload, fragment);
  }
  void withdraw_message(void *socket) override { sending_.withdraw_message(static_cast<WebSocket *>(socket)); }

  void close(void *socket, std::uint16_t code, std::string_view reason) override {
    auto *ws = static_cast<WebSocket *>(socket);
    read_again(ws);
    ws->end(code, reason);
    if (frames::is_alive<SSL>(ws)) {
      note_buffered(ws, ws->getUserData());
    }
  }

  void fail(void *socket, std::uint16_t code) override {
    auto *ws = static_cast<WebSocket *>(socket);
    if (SocketData *data = ws->getUserData(); data->close_state == CloseState::open) {
      frames::begin_ending<SSL>(ws, code, {}, false);
    }
  }

  void finish(void *socket) override {
    auto *ws = static_cast<WebSocket *>(socket);
    ConnectionId id = ws->getUserData()->id;
    if (ws->getUserData()->paused) {
      return;
    }
    reader_.drop_waiting(ws);
    ws->end();
    if (frames::is_alive<SSL>(ws)) {
      // The Close frame waits behind other bytes. Nothing may follow it, and the sender must know.
      connections_.quota(id).id |= SendQuota::closing;
      note_buffered(ws, ws->getUserData());
    }
  }

  void terminate(void *socket) override { static_cast<WebSocket *>(socket)->close(); }

  void pause(void *socket) override {
    auto *ws = static_cast<WebSocket *>(socket);
    if (SocketData *data = ws->getUserData(); !data->has_sent_close()) {
      data->paused = true;
      poll_as_allowed<SSL>(ws, data);
    }
  }

  void resume(void *socket) override {
    auto *ws = static_cast<WebSocket *>(socket);
    if (read_again(ws) && ws->getUserData()->has_peer_closed()) {
      events_.on_ending(*ws->getUserData());
    }
  }

  void cork(void *socket, void (*step)(void *), void *argument) override {
    auto *ws = static_cast<WebSocket *>(socket);
    ws->cork([step, argument] { step(argument); });
    if (frames::is_alive<SSL>(ws)) {
      note_buffered(ws, ws->getUserData());
    }
  }

  bool subscribe(void *socket, std::string_view topic) override {
    return publishing_.subscribe(static_cast<WebSocket *>(socket), topic);
  }
  bool unsubscribe(void *socket, std::string_view topic) override {
    return publishing_.unsubscribe(static_cast<WebSocket *>(socket), topic);
  }
  bool is_subscribed(void *socket, std::string_view topic) override {
    return publishing_.is_subscribed(static_cast<WebSocket *>(socket), topic);
  }
  std::vector<std::string_view> topics(void *socket) override { return publishing_.topics(static_cast<WebSocket *>(socket)); }

 private:
  /// Not by App::ws, which ties a context to a path of its own and does not give the context to its caller.
  us_socket_context_t *make_context(const RouteOptions &route, us_socket_context_t *http_context, TopicTree *topics) {
    auto *context = reinterpret_cast<us_socket_context_t *>(
        uWS::WebSocketContext<SSL, true, SocketData>::create(uWS::Loop::get(), http_context, topics));
    set_up_context(static_cast<ContextData *>(us_socket_context_ext(SSL, context)), route);
    return context;
  }

  void set_up_context(ContextData *context, const RouteOptions &route) {
    context->compression = uWS::DISABLED;  // ours is in compression.h, and upstream need not know of it
    context->maxPayloadLength = 0;         // frames::refuses_length goes by each connection's own
    // Never drops by itself: the limit is applied where the sender gets its status.
    context->maxBackpressure = 0;
    context->closeOnBackpressureLimit = false;
    context->resetIdleTimeoutOnSend = false;
    context->sendPingsAutomatically = route.send_pings;
    context->maxLifetime = 0;
    context->calculateIdleTimeoutCompnents(route.idle_timeout);
    // Upstream splits it for the Ping between the parts, and then also where it is 0, which is never.
    auto &[first, second] = context->idleTimeoutComponents;
    first = route.idle_timeout == 0 ? 0 : route.idle_timeout - second;
    context->openHandler = [this](WebSocket *ws) {
      connections_.open(ws->getUserData()->id, ws);
      events_.on_open(*ws->getUserData());
    };
    context->messageHandler = [this](WebSocket *ws, std::string_view payload, uWS::OpCode op_code) {
      counters_.received(payload.length());
      events_.on_message(*ws->getUserData(), payload, op_code == uWS::OpCode::BINARY);
    };
    context->drainHandler = [this](WebSocket *ws) { drained(ws); };
    context->pingHandler = [this](WebSocket *ws, std::string_view payload) { events_.on_ping(*ws->getUserData(), payload); };
    context->pongHandler = [this](WebSocket *ws, std::string_view payload) {
      SocketData *data = ws->getUserData();
      bool answers_own = data->awaits_pong && payload.empty();
      data->awaits_pong = data->awaits_pong && !answers_own;
      events_.on_pong(*data, payload, answers_own);
    };
    context->closeHandler = [this](WebSocket *ws, int, std::string_view) { closed(ws); };
  }

  /// False when it was not paused.
  bool read_again(WebSocket *ws) {
    SocketData *data = ws->getUserData();
    if (!std::exchange(data->paused, false)) {
      return false;
    }
    if (data->waits) {
      reader_.go_on(ws);
    } else {
      ReadControl::start(SSL, ws, 0);
      frames::restart_idle_timeout<SSL>(ws);
    }
    return true;
  }

  [[gnu::hot]] void receive(void *socket, char *bytes, std::size_t length) override {
    reader_.receive(static_cast<WebSocket *>(socket), bytes, length);
  }

  void drained(WebSocket *ws) {
    SocketData *data = ws->getUserData();
    note_buffered(ws, data);
    if (data->has_sent_close()) {
      sending_.report(ws, data);
      sending_.drained_at_end(data);
      ws->end();
      return;
    }
    sending_.drained(ws);
  }

  /// What was read is delivered, then the end is met with. What was not is of a client that is not there any
  /// more, and would come past the limit for which it was made to wait.
  void reset(void *socket) override {
    ReadControl::drop_unread(socket);
    resume(socket);
  }

  void note_frame(void *socket, std::size_t length) override {
    connections_.quota(static_cast<WebSocket *>(socket)->getUserData()->id).note_frame(length);
  }

  void ending(void *socket) override { events_.on_ending(*static_cast<WebSocket *>(socket)->getUserData()); }

  void closed(WebSocket *ws) {
    SocketData *data = ws->getUserData();
    sending_.end(ws, data);
    if (std::exchange(connections_.quota(data->id).buffered, buffered_amount<SSL>(ws, data)) > 0) {
      sending_.drained_at_end(data);  // if the last of it left with our Close frame
    }
    data->subscriber.reset();
    reader_.forget(*data);
    connections_.close(data->id);
    const Ending *ending = data->ending.get();
    events_.on_close(*data, ending && ending->code ? ending->code : close_code::abnormal_closure,
                     ending ? std::string_view(ending->reason) : std::string_view(), ending && ending->is_peers);
  }

  void note_buffered(WebSocket *ws, SocketData *data) { nws::note_buffered<SSL>(ws, data, connections_); }

  ConnectionTable &connections_;
  FrameReader<SSL> reader_;
  std::vector<Route> routes_;  // never changes: connections point into it
  ServerEvents &events_;
  Counters &counters_;
  SharedCompression compression_;
  PublishOrder order_;
  Publishing<SSL> publishing_;
  Sending<SSL> sending_;
  std::vector<us_socket_context_t *> contexts_;
};

}  // namespace nws
