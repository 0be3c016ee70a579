// All that depends on whether a server speaks TLS is one template, which must be defined where it is
// instantiated.

#include "server/websocket_server.h"

#include <cerrno>
#include <unordered_map>
#include <utility>

#include "server/http/http_connections.h"
#include "server/net/descriptor.h"
#include "server/net/proxy_protocol.h"
#include "server/net/tls_entries.h"
#include "server/uws/upstream.h"
#include "server/websocket/websocket_connections.h"
#include "server/websocket/websocket_readiness.h"

namespace nws {

namespace {

template <bool SSL>
class ServerOf final : public WebSocketServer {
 public:
  ServerOf(EventLoop &loop, ConnectionTable &connections, ServerOptions &options, ServerEvents &events)
      : WebSocketServer(loop, options, events),
        websockets_(connections, loop.turns(), std::move(options.routes), events, counters_),
        exchanges_(websockets_, events, loop, options.request_timeout) {
    http_ = &exchanges_;
    topics_ = &websockets_.publishing();
    if (app_.constructorFailed()) {
      tls_failure_ = {TlsFailure::What::context, "no TLS context could be made"};
      return;
    }
    http_context_ = ContextHandlers::of(SSL).http_context;
    by_context()[http_context_] = this;
    app_.topicTree = websockets_.publishing().make_tree();  // the app deletes it
    websockets_.set_up(http_context_, app_.topicTree);
    exchanges_.receiver().set_up(app_);
    if constexpr (SSL) {
      tls_ = std::make_unique<TlsEntries>(static_cast<ssl_ctx_st *>(app_.getNativeHandle()));
      tls_failure_ = tls_->load(options.tls);
    }
  }

  ~ServerOf() override {
    ServerOf::stop();
    by_context().erase(http_context_);
  }

  /// Null when there is none.
  static ServerOf *of(us_socket_context_t *http_context) {
    auto found = by_context().find(http_context);
    return found == by_context().end() ? nullptr : found->second;
  }

  HttpReceiver<SSL> &receiver() { return exchanges_.receiver(); }

  void adopt(int descriptor, Endpoint remote, std::string_view proxied_address) override {
    exchanges_.receiver().announce(std::move(remote), Endpoint::local(descriptor), proxied_address);
    app_.adoptSocket(descriptor);
  }

  ExchangeId adopt_with_request(int descriptor, std::string_view input) override {
    adopt(descriptor, Endpoint::remote(descriptor), {});
    return exchanges_.receiver().receive_adopted(input);
  }

  void started_listening() override { exchanges_.start_listening(); }

  void stop_listening() override {
    listeners_.clear();
    exchanges_.stop_listening();
  }

  void stop() override {
    stop_listening();
    proxies_.reset();
    if (app_.constructorFailed()) {
      return;
    }
    exchanges_.receiver().close();
    app_.close();
    websockets_.close();
  }

 private:
  static std::unordered_map<us_socket_context_t *, ServerOf *> &by_context() {
    static thread_local std::unordered_map<us_socket_context_t *, ServerOf *> servers;
    return servers;
  }

  uWS::TemplatedApp<SSL> app_;
  us_socket_context_t *http_context_ = nullptr;
  WebSocketConnections<SSL> websockets_;
  HttpConnections<SSL> exchanges_;
};

}  // namespace

template <bool SSL>
us_socket_t *receive_http(us_socket_t *socket, char *data, int length) {
  TlsWriteDeferral guard(SSL, socket);
  ServerOf<SSL> *server = ServerOf<SSL>::of(us_socket_context(SSL, socket));
  return server ? server->receiver().receive(socket, data, static_cast<std::size_t>(length))
                : us_socket_close(SSL, socket, 0, nullptr);
}

template <bool SSL>
us_socket_t *write_http(us_socket_t *socket) {
  WritableScope scope(socket);
  socket = ContextHandlers::of(SSL).http.writable(socket);
  ServerOf<SSL> *server = us_socket_is_closed(SSL, socket) ? nullptr : ServerOf<SSL>::of(us_socket_context(SSL, socket));
  return server ? server->receiver().written(socket) : socket;
}

template <bool SSL>
us_socket_t *end_http(us_socket_t *socket) {
  bool can_write = !SSL || can_write_tls(socket);
  ServerOf<SSL> *server = can_write ? ServerOf<SSL>::of(us_socket_context(SSL, socket)) : nullptr;
  return server ? server->receiver().ended(socket) : us_socket_close(SSL, socket, 0, nullptr);
}

std::unique_ptr<WebSocketServer> WebSocketServer::create(EventLoop &loop, ConnectionTable &connections, ServerOptions options,
                                                         ServerEvents &events) {
  if (options.tls.empty()) {
    return std::make_unique<ServerOf<false>>(loop, connections, options, events);
  }
  return std::make_unique<ServerOf<true>>(loop, connections, options, events);
}

WebSocketServer::WebSocketServer(EventLoop &loop, const ServerOptions &options, ServerEvents &events)
    : loop_(loop), events_(events) {
  if (options.proxy_protocol) {
    proxies_ = std::make_unique<ProxyStage>(loop.uv(), [this](int descriptor, std::string_view address) {
      adopt(descriptor, Endpoint::remote(descriptor), address);
    });
  }
}

WebSocketServer::~WebSocketServer() = default;

std::unique_ptr<Listener> WebSocketServer::make_listener() {
  return std::make_unique<Listener>(Listener::Callbacks{
      .accepted =
          [this](int descriptor, Endpoint remote) {
            exhausted_ = false;
            counters_.tcp_connections++;
            if (proxies_) {
              proxies_->take(descriptor);
            } else {
              adopt(descriptor, std::move(remote), {});
            }
          },
      .exhausted =
          [this] {
            if (!exhausted_) {
              exhausted_ = true;
              events_.on_descriptors_exhausted();
            }
          },
  });
}

ListenResult WebSocketServer::listen(const ListenAddress &address) {
  if (tls_failure_) {
    return {.host = {}, .port = 0, .error = EINVAL};
  }
  auto listener = make_listener();
  ListenResult result = listener->open(loop_.uv(), address);
  if (result) {
    listeners_.push_back(std::move(listener));
    started_listening();
  }
  return result;
}

WebSocketServer::Adoption WebSocketServer::take_over(int descriptor, std::string_view input) {
  if (tls_ || tls_failure_) {
    return {.error = EINVAL};
  }
  int own = duplicate_descriptor(descriptor);
  if (own < 0) {
    return {.error = errno};
  }
  counters_.tcp_connections++;
  return {.exchange = adopt_with_request(own, input)};
}

std::optional<TlsFailure> WebSocketServer::reload_tls(const std::vector<TlsOptions> &entries) {
  if (!tls_ || entries.empty()) {
    return TlsFailure{TlsFailure::What::context, "the server does not speak TLS"};
  }
  return tls_->load(entries);
}

void WebSocketServer::ref(bool keep_alive) {
  for (auto &listener : listeners_) {
    listener->ref(keep_alive);
  }
}

}  // namespace nws
