// Long because all that depends on whether a server speaks TLS is one template, which must be defined where
// it is instantiated.

#include "server/websocket_server.h"

#include <unordered_map>

#include "server/http/http_connections.h"
#include "server/net/proxy_protocol.h"
#include "server/net/tls_entries.h"
#include "server/uws/upstream.h"
#include "server/websocket/websocket_connections.h"
#include "server/websocket/websocket_readiness.h"

namespace nws {

/// The part of a server that depends on whether it speaks TLS: one template below.
class WebSocketServer::Core {
 public:
  virtual ~Core() = default;
  /// `remote_address`: the bytes of the peer's, where they are known.
  virtual void adopt(int descriptor, std::string_view remote_address, std::string_view proxied_address) = 0;
  virtual bool respond(ExchangeId exchange, const Response &response) = 0;
  virtual bool begin_response(ExchangeId exchange, const Response &head) = 0;
  virtual bool write(ExchangeId exchange, std::string_view chunk) = 0;
  virtual void end_response(ExchangeId exchange, bool closes) = 0;
  virtual void abort(ExchangeId exchange) = 0;
  virtual void pause_body(ExchangeId exchange) = 0;
  virtual void resume_body(ExchangeId exchange) = 0;
  virtual ConnectionId accept(ExchangeId exchange, std::size_t route, std::string_view protocol, std::span<const Header> headers,
                              const std::optional<CompressionAgreement> &compression) = 0;
  virtual bool publish(std::string_view topic, std::string_view payload, OpCode op_code, ConnectionId except,
                       Compress compress) = 0;
  virtual std::size_t subscribers(std::string_view topic) = 0;
  virtual void flush() = 0;
  virtual bool is_flushed() = 0;
  virtual void stop_listening() = 0;
  virtual void stop() = 0;

  Counters counters;
  std::unique_ptr<Listener> listener;
  /// Null where no PROXY header is required, and after stop().
  std::unique_ptr<ProxyStage> proxies;
  /// Null without TLS.
  std::unique_ptr<TlsEntries> tls;
  EventLoop *loop = nullptr;
  ListenAddress address;
};

namespace {

template <bool SSL>
class ServerCore final : public WebSocketServer::Core {
 public:
  ServerCore(EventLoop &loop, ConnectionTable &connections, ServerOptions &options, ServerEvents &events)
      : websockets_(connections, loop.turns(), std::move(options.routes), events, counters),
        http_(websockets_, events, loop, options.request_timeout) {
    if (app_.constructorFailed()) {
      return;
    }
    http_context_ = ContextHandlers::of(SSL).http_context;
    by_context()[http_context_] = this;
    app_.topicTree = websockets_.publishing().make_tree();  // the app deletes it
    websockets_.set_up(http_context_, app_.topicTree);
    http_.reading().set_up(app_);
  }

  ~ServerCore() override {
    ServerCore::stop();
    by_context().erase(http_context_);
  }

  /// Null when there is none.
  static ServerCore *of(us_socket_context_t *http_context) {
    auto found = by_context().find(http_context);
    return found == by_context().end() ? nullptr : found->second;
  }

  HttpConnections<SSL> &http() { return http_; }
  ssl_ctx_st *native_tls() { return static_cast<ssl_ctx_st *>(app_.getNativeHandle()); }
  bool failed() { return app_.constructorFailed(); }

  void adopt(int descriptor, std::string_view remote_address, std::string_view proxied_address) override {
    http_.reading().announce(remote_address, proxied_address);
    app_.adoptSocket(descriptor);
  }

  bool respond(ExchangeId id, const Response &response) override { return http_.respond(id, response); }
  bool begin_response(ExchangeId id, const Response &head) override { return http_.begin_response(id, head); }
  bool write(ExchangeId id, std::string_view chunk) override { return http_.write(id, chunk); }
  void end_response(ExchangeId id, bool closes) override { http_.end_response(id, closes); }
  void abort(ExchangeId id) override { http_.abort(id); }
  void pause_body(ExchangeId id) override { http_.reading().pause_body(id); }
  void resume_body(ExchangeId id) override { http_.reading().resume_body(id); }
  ConnectionId accept(ExchangeId id, std::size_t route, std::string_view protocol, std::span<const Header> headers,
                      const std::optional<CompressionAgreement> &compression) override {
    return http_.accept(id, route, protocol, headers, compression);
  }
  bool publish(std::string_view topic, std::string_view payload, OpCode op_code, ConnectionId except,
               Compress compress) override {
    return websockets_.publishing().publish(topic, payload, op_code, except, compress);
  }
  std::size_t subscribers(std::string_view topic) override { return websockets_.publishing().subscribers(topic); }
  void flush() override { websockets_.publishing().flush(); }
  bool is_flushed() override { return http_.reading().is_flushed(); }

  void stop_listening() override {
    listener.reset();
    http_.stop_listening();
  }

  void stop() override {
    stop_listening();
    proxies.reset();
    if (app_.constructorFailed()) {
      return;
    }
    http_.reading().close();
    app_.close();
    websockets_.close();
  }

 private:
  static std::unordered_map<us_socket_context_t *, ServerCore *> &by_context() {
    static thread_local std::unordered_map<us_socket_context_t *, ServerCore *> servers;
    return servers;
  }

  uWS::TemplatedApp<SSL> app_;
  us_socket_context_t *http_context_ = nullptr;
  WebSocketConnections<SSL> websockets_;
  HttpConnections<SSL> http_;
};

}  // namespace

template <bool SSL>
us_socket_t *receive_http(us_socket_t *socket, char *data, int length) {
  TlsWriteDeferral guard(SSL, socket);
  ServerCore<SSL> *core = ServerCore<SSL>::of(us_socket_context(SSL, socket));
  return core ? core->http().reading().receive(socket, data, static_cast<std::size_t>(length))
              : us_socket_close(SSL, socket, 0, nullptr);
}

template <bool SSL>
us_socket_t *write_http(us_socket_t *socket) {
  WritableScope scope(socket);
  socket = ContextHandlers::of(SSL).http.writable(socket);
  ServerCore<SSL> *core = us_socket_is_closed(SSL, socket) ? nullptr : ServerCore<SSL>::of(us_socket_context(SSL, socket));
  return core ? core->http().reading().written(socket) : socket;
}

template <bool SSL>
us_socket_t *end_http(us_socket_t *socket) {
  bool can_write = !SSL || can_write_tls(socket);
  ServerCore<SSL> *core = can_write ? ServerCore<SSL>::of(us_socket_context(SSL, socket)) : nullptr;
  return core ? core->http().reading().ended(socket) : us_socket_close(SSL, socket, 0, nullptr);
}

WebSocketServer::WebSocketServer(EventLoop &loop, ConnectionTable &connections, ServerOptions options, ServerEvents &events) {
  if (!options.tls.empty()) {
    auto core = std::make_unique<ServerCore<true>>(loop, connections, options, events);
    if (core->failed()) {
      tls_failure_ = {TlsFailure::What::context, "no TLS context could be made"};
    } else {
      core->tls = std::make_unique<TlsEntries>(core->native_tls());
      tls_failure_ = core->tls->load(options.tls);
    }
    core_ = std::move(core);
  } else {
    core_ = std::make_unique<ServerCore<false>>(loop, connections, options, events);
  }
  core_->loop = &loop;
  core_->address = std::move(options.address);
  if (options.proxy_protocol) {
    core_->proxies = std::make_unique<ProxyStage>(
        loop.uv(), [core = core_.get()](int descriptor, std::string_view address) { core->adopt(descriptor, {}, address); });
  }
  core_->listener = std::make_unique<Listener>(Listener::Callbacks{
      .accepted =
          [core = core_.get()](int descriptor, std::string_view remote_address) {
            core->counters.tcp_connections++;
            if (core->proxies) {
              core->proxies->take(descriptor);
            } else {
              core->adopt(descriptor, remote_address, {});
            }
          },
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
void WebSocketServer::stop_listening() { core_->stop_listening(); }
std::optional<TlsFailure> WebSocketServer::reload_tls(const std::vector<TlsOptions> &entries) {
  if (!core_->tls || entries.empty()) {
    return TlsFailure{TlsFailure::What::context, "the server does not speak TLS"};
  }
  return core_->tls->load(entries);
}
void WebSocketServer::ref(bool keep_alive) {
  if (core_->listener) {
    core_->listener->ref(keep_alive);
  }
}
bool WebSocketServer::respond(ExchangeId exchange, const Response &response) { return core_->respond(exchange, response); }
bool WebSocketServer::begin_response(ExchangeId exchange, const Response &head) { return core_->begin_response(exchange, head); }
bool WebSocketServer::write(ExchangeId exchange, std::string_view chunk) { return core_->write(exchange, chunk); }
void WebSocketServer::end_response(ExchangeId exchange, bool closes) { core_->end_response(exchange, closes); }
void WebSocketServer::abort(ExchangeId exchange) { core_->abort(exchange); }
void WebSocketServer::pause_body(ExchangeId exchange) { core_->pause_body(exchange); }
void WebSocketServer::resume_body(ExchangeId exchange) { core_->resume_body(exchange); }
ConnectionId WebSocketServer::accept(ExchangeId exchange, std::size_t route, std::string_view protocol,
                                     std::span<const Header> headers, const std::optional<CompressionAgreement> &compression) {
  return core_->accept(exchange, route, protocol, headers, compression);
}
bool WebSocketServer::publish(std::string_view topic, std::string_view payload, bool is_binary, ConnectionId except,
                              Compress compress) {
  return core_->publish(topic, payload, is_binary ? OpCode::binary : OpCode::text, except, compress);
}
std::size_t WebSocketServer::subscribers(std::string_view topic) { return core_->subscribers(topic); }
const Counters &WebSocketServer::counters() const { return core_->counters; }
void WebSocketServer::flush() { core_->flush(); }
bool WebSocketServer::is_flushed() { return core_->is_flushed(); }
void WebSocketServer::stop() { core_->stop(); }

}  // namespace nws
