// µWebSockets asks the environment for the limit of a request's headers, and is content with 4 KiB. Here it is asked instead:
// this must stand before its headers.
#include <cstdlib>

namespace nws {
/// As much as Node's own HTTP server takes (--max-http-header-size).
inline const char *header_limit(const char *) { return "16384"; }
}  // namespace nws
#define getenv(name) nws::header_limit(name)

#include "http_pipeline.h"
#include "websocket_server.h"

#include <algorithm>
#include <chrono>
#include <unordered_map>

#include "uws_specializations.h"

#undef getenv

namespace nws {

/// The part of a server that depends on whether it speaks TLS: one template below.
class WebSocketServer::Core : public ConnectionOwner {
 public:
  virtual ~Core() = default;
  virtual void adopt(int descriptor) = 0;
  virtual bool respond(ExchangeId exchange, const Response &response) = 0;
  virtual ConnectionId accept(ExchangeId exchange, std::size_t route, std::string_view protocol,
                              std::span<const Header> headers) = 0;
  virtual bool publish(std::string_view topic, std::string_view payload, uWS::OpCode op_code, ConnectionId except) = 0;
  virtual std::size_t subscribers(std::string_view topic) = 0;
  virtual void flush() = 0;
  virtual bool is_flushed() = 0;
  virtual void stop() = 0;

  std::unique_ptr<Listener> listener;
  EventLoop *loop = nullptr;
  ListenAddress address;
};

namespace {

std::int64_t epoch_milliseconds() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

/// An address as text, from its 4 or 16 bytes.
std::string address_text(std::string_view bytes) {
  static constexpr char mapped[] = "\0\0\0\0\0\0\0\0\0\0\xff\xff";  // ::ffff:0:0/96, RFC 4291, section 2.5.5.2
  char text[46] = "";
  if (bytes.length() == 16 && bytes.substr(0, 12) == std::string_view(mapped, 12)) {
    bytes.remove_prefix(12);
  }
  if (bytes.length() == 4) {
    uv_inet_ntop(AF_INET, bytes.data(), text, sizeof text);
  } else if (bytes.length() == 16) {
    uv_inet_ntop(AF_INET6, bytes.data(), text, sizeof text);
  }
  return text;
}

template <bool SSL>
class ServerCore final : public WebSocketServer::Core, private EndingObserver {
  using App = uWS::TemplatedApp<SSL>;
  using WebSocket = frames::WebSocket<SSL>;
  using HttpResponse = uWS::HttpResponse<SSL>;
  using ContextData = frames::ContextData<SSL>;
  using OnData = HttpPipeline::OnData;

  struct Exchange {
    HttpResponse *response;
    /// Of an upgrade: Sec-WebSocket-Key and Sec-WebSocket-Extensions. Empty for anything else.
    std::string key, extensions;
  };

 public:
  ServerCore(ConnectionTable &connections, std::vector<RouteOptions> routes, ServerEvents &events)
      : connections_(connections), routes_(std::move(routes)), events_(events) {
    if (app_.constructorFailed()) {
      return;
    }
    http_context_ = HttpPipeline::registered(SSL).http_context;
    by_context()[http_context_] = this;
    // Our own tree, rather than the one that App makes: so that we know when a subscriber's queue has grown, and so that nothing
    // is left in µWebSockets' lists of loop handlers, which must not change while they run. The app deletes it.
    app_.topicTree = new TopicTree([this](uWS::Subscriber *subscriber, uWS::TopicTreeMessage &message,
                                          TopicTree::IteratorFlags flags) { return deliver(subscriber, message, flags); });
    set_up_routes();
  }

  ~ServerCore() override {
    ServerCore::stop();
    for (us_socket_context_t *context : contexts_) {
      static_cast<ContextData *>(us_socket_context_ext(SSL, context))->~ContextData();
      us_socket_context_free(SSL, context);
    }
    by_context().erase(http_context_);
  }

  /// Null when there is none.
  static ServerCore *of(us_socket_context_t *http_context) {
    auto found = by_context().find(http_context);
    return found == by_context().end() ? nullptr : found->second;
  }

  /// Data on an HTTP connection: see HttpPipeline.
  us_socket_t *receive_http_data(us_socket_t *socket, char *data, std::size_t length) {
    OnData parse = HttpPipeline::registered(SSL).http;
    HttpPipeline::Connection &connection = http_connections_[socket];
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
    auto found = http_connections_.find(socket);
    if (found != http_connections_.end() && found->second.held.size() - found->second.parsed > HttpPipeline::max_held) {
      us_socket_close(SSL, socket, 0, nullptr);
    }
    return socket;
  }

  ssl_ctx_st *tls() { return static_cast<ssl_ctx_st *>(app_.getNativeHandle()); }
  bool failed() { return app_.constructorFailed(); }

  void adopt(int descriptor) override { app_.adoptSocket(descriptor); }

  // ---- HTTP ----

  bool respond(ExchangeId id, const Response &response) override {
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

  ConnectionId accept(ExchangeId id, std::size_t route, std::string_view protocol, std::span<const Header> headers) override {
    auto found = exchanges_.find(id);
    if (found == exchanges_.end() || found->second.key.empty() || route >= routes_.size()) {
      return 0;
    }
    Exchange exchange = std::move(found->second);
    exchanges_.erase(found);
    if (connections_.full()) {
      write_response(exchange.response, {.status = "503 Service Unavailable", .headers = {}, .body = ""});
      return 0;
    }
    // The upgrade moves the socket. Frames may have come with the request, although the client should wait for the answer.
    auto node = http_connections_.extract(exchange.response);
    exchange.response->cork([&] {
      exchange.response->writeStatus("101 Switching Protocols");
      for (const Header &header : headers) {
        exchange.response->writeHeader(header.first, header.second);
      }
      SocketData data;
      data.user_id = ++accepted_;
      data.connected_at = epoch_milliseconds();
      data.route = &routes_[route];
      data.owner = this;
      exchange.response->template upgrade<SocketData>(std::move(data), exchange.key, protocol, exchange.extensions,
                                                      contexts_[route]);
    });
    ConnectionId opened = std::exchange(opened_, 0);
    if (auto *entry = connections_.find(opened); entry && !node.empty() && !node.mapped().held.empty()) {
      Padded early(node.mapped().held);
      HttpPipeline::registered(SSL).websocket(static_cast<us_socket_t *>(entry->socket), early.data(), early.length());
    }
    return opened;
  }

  // ---- connections ----

  void send(void *socket, std::string_view payload, uWS::OpCode op_code) override {
    auto *ws = static_cast<WebSocket *>(socket);
    SocketData *data = ws->getUserData();
    if (data->closing) {
      return;
    }
    drain_topics(data);
    ws->send(payload, op_code);
    note_buffered(ws, data);
  }

  void close(void *socket, std::uint16_t code, std::string_view reason) override {
    auto *ws = static_cast<WebSocket *>(socket);
    ConnectionId id = ws->getUserData()->id;
    ws->end(code, reason);
    if (connections_.find(id)) {
      note_buffered(ws, ws->getUserData());
    }
  }

  void fail(void *socket, std::uint16_t code) override {
    auto *ws = static_cast<WebSocket *>(socket);
    if (SocketData *data = ws->getUserData(); !data->ending && !data->closing) {
      frames::begin_ending<SSL>(ws, code, {});
    }
  }

  void finish(void *socket) override {
    auto *ws = static_cast<WebSocket *>(socket);
    ConnectionId id = ws->getUserData()->id;
    ws->end();
    if (connections_.find(id)) {
      note_buffered(ws, ws->getUserData());
    }
  }

  void terminate(void *socket) override { static_cast<WebSocket *>(socket)->close(); }

  void cork(void *socket, void (*step)(void *), void *argument) override {
    auto *ws = static_cast<WebSocket *>(socket);
    ConnectionId id = ws->getUserData()->id;
    ws->cork([step, argument] { step(argument); });
    if (connections_.find(id)) {
      note_buffered(ws, ws->getUserData());
    }
  }

  bool subscribe(void *socket, std::string_view topic) override {
    auto *ws = static_cast<WebSocket *>(socket);
    SocketData *data = ws->getUserData();
    if (data->closing) {
      return false;
    }
    if (!data->subscriber) {
      data->subscriber = {app_.topicTree->createSubscriber(), SubscriberDeleter{app_.topicTree}};
      data->subscriber->user = ws;
    }
    return app_.topicTree->subscribe(data->subscriber.get(), topic) != nullptr;
  }

  bool unsubscribe(void *socket, std::string_view topic) override {
    SocketData *data = static_cast<WebSocket *>(socket)->getUserData();
    return data->subscriber && std::get<0>(app_.topicTree->unsubscribe(data->subscriber.get(), topic));
  }

  std::vector<std::string_view> topics(void *socket) override {
    std::vector<std::string_view> names;
    if (SocketData *data = static_cast<WebSocket *>(socket)->getUserData(); data->subscriber) {
      for (uWS::Topic *topic : data->subscriber->topics) {
        names.emplace_back(topic->name);
      }
    }
    return names;
  }

  // ---- publish and subscribe ----

  bool publish(std::string_view name, std::string_view payload, uWS::OpCode op_code, ConnectionId except) override {
    uWS::Topic *topic = app_.topicTree->lookupTopic(name);
    if (!topic) {
      return false;
    }
    uWS::Subscriber *sender = nullptr;
    if (auto *entry = connections_.find(except)) {
      sender = static_cast<WebSocket *>(entry->socket)->getUserData()->subscriber.get();
    }
    if (topic->size() == (sender ? topic->count(sender) : 0)) {
      return false;
    }
    if (payload.length() < uWS::LoopData::CORK_BUFFER_SIZE) {
      return app_.topicTree->publish(sender, name, {std::string(payload), op_code, false});
    }
    // Too long to be copied for later: to everybody now, each after what was published to it before.
    return app_.topicTree->publishBig(sender, name, {payload, op_code, false},
                                      [this](uWS::Subscriber *subscriber, uWS::TopicTreeBigMessage &message) {
                                        app_.topicTree->drain(subscriber);
                                        send_published(subscriber, message.message, message.opCode);
                                      });
  }

  std::size_t subscribers(std::string_view name) override {
    uWS::Topic *topic = app_.topicTree->lookupTopic(name);
    return topic ? topic->size() : 0;
  }

  void flush() override { app_.topicTree->drain(); }

  bool is_flushed() override {
    return std::all_of(http_connections_.begin(), http_connections_.end(),
                       [](const auto &entry) { return frames::Corkable<SSL>::of(entry.first)->getBufferedAmount() == 0; });
  }

  void stop() override {
    listener.reset();
    if (app_.constructorFailed()) {
      return;
    }
    // By our own list: a TLS socket that waits for its turn to shake hands is in none of µWebSockets' (loop.c, low priority).
    std::vector<void *> sockets;
    for (const auto &[socket, connection] : http_connections_) {
      sockets.push_back(socket);
    }
    for (void *socket : sockets) {
      us_socket_close(SSL, static_cast<us_socket_t *>(socket), 0, nullptr);
    }
    app_.close();
    for (us_socket_context_t *context : contexts_) {
      us_socket_context_close(SSL, context);
    }
  }

 private:
  void set_up_routes() {
    app_.filter([this](HttpResponse *http, int change) {
      if (change > 0) {
        http_connections_.try_emplace(http);
      } else {
        http_connections_.erase(http);
      }
    });
    // Which route a request takes is decided by whoever handles on_request; a WebSocket route here is a set of limits.
    for (const RouteOptions &route : routes_) {
      contexts_.push_back(make_context(route));
    }
    app_.any("/*", [this](HttpResponse *http, uWS::HttpRequest *request) { receive_request(http, request); });
  }

  /// Not by App::ws, which ties a context to a path of its own and tells it to nobody.
  us_socket_context_t *make_context(const RouteOptions &route) {
    auto *context = reinterpret_cast<us_socket_context_t *>(
        uWS::WebSocketContext<SSL, true, SocketData>::create(uWS::Loop::get(), http_context_, app_.topicTree));
    set_up_context(static_cast<ContextData *>(us_socket_context_ext(SSL, context)), route);
    return context;
  }

  void set_up_context(ContextData *context, const RouteOptions &route) {
    context->compression = uWS::DISABLED;
    // Upstream measures control frames by this too. The limit of messages is applied by frames::receive.
    context->maxPayloadLength = std::max(route.max_payload_length, 125u);
    context->maxBackpressure = 0;  // never drops by itself: the limit is applied where the sender gets its answer
    context->closeOnBackpressureLimit = false;
    context->resetIdleTimeoutOnSend = false;
    context->sendPingsAutomatically = route.send_pings;
    context->maxLifetime = 0;
    context->calculateIdleTimeoutCompnents(route.idle_timeout);
    if (route.idle_timeout == 0) {
      context->idleTimeoutComponents.first = 0;  // never; upstream would subtract the time for a Ping from it
    }
    context->openHandler = [this](WebSocket *ws) {
      SocketData *data = ws->getUserData();
      data->id = opened_ = connections_.open(ws, this, data->route->max_backpressure);
      events_.on_open(*data);
    };
    context->messageHandler = [this](WebSocket *ws, std::string_view payload, uWS::OpCode op_code) {
      events_.on_message(*ws->getUserData(), payload, op_code == uWS::OpCode::BINARY);
    };
    context->drainHandler = [this](WebSocket *ws) { drained(ws); };
    context->pingHandler = [this](WebSocket *ws, std::string_view payload) { events_.on_ping(*ws->getUserData(), payload); };
    context->pongHandler = [this](WebSocket *ws, std::string_view payload) { events_.on_pong(*ws->getUserData(), payload); };
    context->closeHandler = [this](WebSocket *ws, int, std::string_view) { closed(ws); };
  }

  /// A copy of some bytes, with the room around them that µWebSockets' parsers read and write.
  class Padded {
   public:
    explicit Padded(std::string_view bytes) : length_(bytes.length()), memory_(LIBUS_RECV_BUFFER_PADDING, '\0') {
      memory_.append(bytes).append(LIBUS_RECV_BUFFER_PADDING, '\0');
    }
    char *data() { return memory_.data() + LIBUS_RECV_BUFFER_PADDING; }
    int length() const { return static_cast<int>(length_); }

   private:
    std::size_t length_;
    std::string memory_;
  };

  /// Gives the parser the next of the requests that wait, as far as it has come, if the connection is free for it.
  void parse_held(us_socket_t *socket) {
    for (;;) {
      auto found = http_connections_.find(socket);
      if (found == http_connections_.end() || !reinterpret_cast<HttpResponse *>(socket)->hasResponded()) {
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
      exchange.extensions = request->getHeader("sec-websocket-extensions");
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
    events_.on_request(id, {request->getCaseSensitiveMethod(), request->getFullUrl(), remote_address, headers_});
  }

  void write_response(HttpResponse *http, const Response &response) {
    http->cork([&] {
      http->writeStatus(response.status);
      for (const Header &header : response.headers) {
        http->writeHeader(header.first, header.second);
      }
      bool last = !listener;  // nobody should stay for another request
      if (!response.body) {
        http->endWithoutBody(std::nullopt, last);
      } else if (response.head_only) {
        http->endWithoutBody(response.body->length(), last);
      } else {
        http->end(*response.body, last);
      }
    });
  }

  void drained(WebSocket *ws) {
    SocketData *data = ws->getUserData();
    note_buffered(ws, data);
    if (data->closing) {
      ws->end();
      return;
    }
    Account &account = connections_.account(data->id);
    bool has_room = (account.answers & Account::answered_dropped) && account.buffered < account.limit;
    if (account.answers && (account.buffered == 0 || has_room)) {
      account.answers = 0;
      events_.on_drain(*data);
    }
  }

  void ending(void *socket) override { events_.on_ending(*static_cast<WebSocket *>(socket)->getUserData()); }

  void closed(WebSocket *ws) {
    SocketData *data = ws->getUserData();
    data->subscriber.reset();
    connections_.close(data->id);
    events_.on_close(*data, data->close_code ? data->close_code : 1006,
                     data->close_reason ? *data->close_reason : std::string_view());
  }

  void drain_topics(SocketData *data) {
    if (data->subscriber) {
      app_.topicTree->drain(data->subscriber.get());
    }
  }

  void note_buffered(WebSocket *ws, SocketData *data) { connections_.account(data->id).buffered = ws->getBufferedAmount(); }

  /// False when the subscriber's queue is full.
  bool send_published(uWS::Subscriber *subscriber, std::string_view payload, int op_code) {
    auto *ws = static_cast<WebSocket *>(subscriber->user);
    SocketData *data = ws->getUserData();
    if (ws->getBufferedAmount() + payload.length() > data->route->max_backpressure) {
      return false;
    }
    ws->send(payload, static_cast<uWS::OpCode>(op_code));
    note_buffered(ws, data);
    return true;
  }

  /// The tree hands over a subscriber's messages one by one, marking the first and the last. True would stop it short.
  bool deliver(uWS::Subscriber *subscriber, uWS::TopicTreeMessage &message, TopicTree::IteratorFlags flags) {
    auto *ws = static_cast<WebSocket *>(subscriber->user);
    auto *corkable = frames::Corkable<SSL>::of(ws);
    bool first = flags & TopicTree::FIRST;
    bool last = flags & TopicTree::LAST;
    if (first && !last && corkable->canCork()) {
      corkable->cork();
      corked_by_delivery_ = true;
    }
    send_published(subscriber, message.message, message.opCode);
    if (last && corked_by_delivery_) {
      corked_by_delivery_ = false;
      corkable->uncork();
      note_buffered(ws, ws->getUserData());
    }
    return false;
  }

  static std::unordered_map<us_socket_context_t *, ServerCore *> &by_context() {
    static thread_local std::unordered_map<us_socket_context_t *, ServerCore *> servers;
    return servers;
  }

  App app_;
  us_socket_context_t *http_context_ = nullptr;
  ConnectionTable &connections_;
  std::vector<RouteOptions> routes_;  // never changes: connections point into it
  ServerEvents &events_;
  std::vector<us_socket_context_t *> contexts_;
  std::unordered_map<ExchangeId, Exchange> exchanges_;
  /// Every connection that is not a WebSocket yet.
  std::unordered_map<void *, HttpPipeline::Connection> http_connections_;
  std::vector<Header> headers_;
  ExchangeId last_exchange_ = 0;
  std::uint64_t accepted_ = 0;
  /// What the open handler made during `accept`.
  ConnectionId opened_ = 0;
  bool corked_by_delivery_ = false;
};

}  // namespace

template <bool SSL>
us_socket_t *receive_http(us_socket_t *socket, char *data, int length) {
  ServerCore<SSL> *core = ServerCore<SSL>::of(us_socket_context(SSL, socket));
  return core ? core->receive_http_data(socket, data, static_cast<std::size_t>(length))
              : us_socket_close(SSL, socket, 0, nullptr);
}

WebSocketServer::WebSocketServer(EventLoop &loop, ConnectionTable &connections, ServerOptions options, ServerEvents &events) {
  if (options.tls) {
    auto core = std::make_unique<ServerCore<true>>(connections, std::move(options.routes), events);
    if (core->failed()) {
      tls_failure_ = {TlsFailure::What::context, {}, "no TLS context could be made"};
    } else {
      tls_failure_ = configure_tls(core->tls(), *options.tls);
    }
    core_ = std::move(core);
  } else {
    core_ = std::make_unique<ServerCore<false>>(connections, std::move(options.routes), events);
  }
  core_->loop = &loop;
  core_->address = std::move(options.address);
  core_->listener = std::make_unique<Listener>(Listener::Callbacks{
      .accepted = [core = core_.get()](int descriptor) { core->adopt(descriptor); },
      .exhausted = [&events] { events.on_descriptors_exhausted(); },
  });
}

WebSocketServer::~WebSocketServer() = default;

ListenResult WebSocketServer::listen() {
  if (tls_failure_ || !core_->listener) {
    return {.error = EINVAL};
  }
  return core_->listener->open(core_->loop->uv(), core_->address);
}
void WebSocketServer::stop_listening() { core_->listener.reset(); }
void WebSocketServer::ref(bool keep_alive) {
  if (core_->listener) {
    core_->listener->ref(keep_alive);
  }
}
bool WebSocketServer::respond(ExchangeId exchange, const Response &response) { return core_->respond(exchange, response); }
ConnectionId WebSocketServer::accept(ExchangeId exchange, std::size_t route, std::string_view protocol,
                                     std::span<const Header> headers) {
  return core_->accept(exchange, route, protocol, headers);
}
bool WebSocketServer::publish(std::string_view topic, std::string_view payload, bool is_binary, ConnectionId except) {
  return core_->publish(topic, payload, is_binary ? uWS::OpCode::BINARY : uWS::OpCode::TEXT, except);
}
std::size_t WebSocketServer::subscribers(std::string_view topic) { return core_->subscribers(topic); }
void WebSocketServer::flush() { core_->flush(); }
bool WebSocketServer::is_flushed() { return core_->is_flushed(); }
void WebSocketServer::stop() { core_->stop(); }

}  // namespace nws
