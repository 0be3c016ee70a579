// A WebSocket and HTTP server on µWebSockets.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/counters.h"
#include "server/http/exchange_owner.h"
#include "server/net/endpoint.h"
#include "server/net/event_loop.h"
#include "server/net/listener.h"
#include "server/net/tls_context.h"
#include "server/websocket/connection_owner.h"
#include "server/websocket/connection_table.h"
#include "server/websocket/topics.h"

namespace nws {

class ProxyStage;
class TlsEntries;

/// An HTTP request. The views are valid during the event only.
struct RequestHead {
  std::string_view method;
  std::string_view url;
  /// In text; an IPv4 peer of a dual-stack socket appears as IPv4.
  std::string_view remote_address;
  std::uint16_t remote_port;
  /// Of this end of the connection; in text likewise.
  std::string_view local_address;
  std::uint16_t local_port;
  /// The client's, as a PROXY header has told; empty when none has.
  std::string_view proxied_address;
  /// Names in lower case, in the order in which they came.
  std::span<const Header> headers;
  /// Content follows, in at least one on_body.
  bool has_body;
};

struct ServerOptions {
  /// Empty: plain text. The first is the default.
  std::vector<TlsOptions> tls;
  /// Require a PROXY header on every connection; see ProxyStage.
  bool proxy_protocol = false;
  /// For a whole request, from its first byte on; 0 for no limit. See RequestDeadlines.
  std::chrono::seconds request_timeout{0};
  /// What `accept` chooses from.
  std::vector<RouteOptions> routes;
};

/// What happens to a server. Every event is raised inside a µWebSockets or libuv callback: take note and
/// return. None may throw, call back into the server or its connections (but for ConnectionOwner::fail), or
/// destroy them: a write while a TLS socket is being read loses what it has not decrypted yet (µSockets'
/// openssl.c, us_internal_ssl_socket_write).
class ServerEvents {
 public:
  /// Ends with `respond`, `end_response`, `accept` or `abort`, or with on_abort; its body may come to its end
  /// later.
  virtual void on_request(ExchangeId exchange, const RequestHead &head) = 0;
  /// A piece of a request's body, in memory that is overwritten after the event; the last one may be empty.
  /// False: it cannot be taken, and the connection is cut.
  virtual bool on_body(ExchangeId exchange, std::string_view content, bool is_last) = 0;
  /// After `write` has returned false: everything is written.
  virtual void on_writable(ExchangeId exchange) = 0;
  /// The client of a request without a whole response, or whose body has not come whole, has gone.
  virtual void on_abort(ExchangeId exchange) = 0;

  virtual void on_open(const SocketData &socket) = 0;
  /// The payload is µWebSockets' memory, and is overwritten after the event.
  virtual void on_message(const SocketData &socket, std::string_view payload, bool is_binary) = 0;
  /// After a status of "backpressure" or "dropped": the queue is empty, or has room again.
  virtual void on_drain(const SocketData &socket) = 0;
  /// The queue is below the threshold in SendQuota::low_threshold.
  virtual void on_buffered_amount_low(const SocketData &socket) = 0;
  /// No bytes wait any more before the next fragment of a message.
  virtual void on_fragment_drain(const SocketData &socket) = 0;
  /// A published message was left out for a connection whose queue is full; only on routes that ask for it.
  /// `publication` tells the server's messages apart that are on their way.
  virtual void on_dropped(const SocketData &socket, std::string_view payload, bool is_binary, std::uint32_t publication) = 0;
  /// The handler sends the Pong.
  virtual void on_ping(const SocketData &socket, std::string_view payload) = 0;
  /// `answers_own`: it may be the answer to the last Ping that the server has sent by itself.
  virtual void on_pong(const SocketData &socket, std::string_view payload, bool answers_own) = 0;
  /// A message whose end was to be reported has left: everything of it was given to the kernel. In the order
  /// of the messages, once for each.
  virtual void on_sent(const SocketData &socket) = 0;
  /// The peer has sent its Close frame, or a frame that ends the connection. The handler calls
  /// ConnectionOwner::finish when the messages before that frame have been handled.
  virtual void on_ending(const SocketData &socket) = 0;
  /// The id finds nothing any more. The handler releases the id (ConnectionTable::release) when no command
  /// with it can follow. `was_clean`: code and reason are what the peer's Close frame says.
  virtual void on_close(const SocketData &socket, std::uint16_t code, std::string_view reason, bool was_clean) = 0;

  /// There are no descriptors left to accept clients with: once, until accepting has worked again.
  virtual void on_descriptors_exhausted() = 0;

 protected:
  ~ServerEvents() = default;
};

/// Owns its listening sockets and its connections. Lives on its loop's thread. Not to be destroyed inside an
/// event.
class WebSocketServer {
 public:
  /// The loop, the table and the events outlive the server. Ask `tls_failure` before anything else.
  static std::unique_ptr<WebSocketServer> create(EventLoop &loop, ConnectionTable &connections, ServerOptions options,
                                                 ServerEvents &events);
  /// Cuts what is still open: the close events come before this returns.
  virtual ~WebSocketServer();
  WebSocketServer(const WebSocketServer &) = delete;
  WebSocketServer &operator=(const WebSocketServer &) = delete;

  /// Why the key and certificate cannot be used; the server is then good for nothing.
  const std::optional<TlsFailure> &tls_failure() const { return tls_failure_; }

  /// Adds an address to those that the server listens on: nothing is accepted before the loop runs, so that
  /// several may be tried, and stop_listening() gives them all up.
  ListenResult listen(const ListenAddress &address);
  /// Connections that are open go on. Idempotent.
  virtual void stop_listening() = 0;
  /// New connections get these certificates. Nothing when they do; after a failure nothing has changed.
  std::optional<TlsFailure> reload_tls(const std::vector<TlsOptions> &entries);
  /// Whether the listening sockets keep the loop alive.
  void ref(bool keep_alive);

  /// What has become of a connection that was handed over.
  struct Adoption {
    /// Of the request that it came with, whose on_request has been raised; 0 when the request was refused.
    ExchangeId exchange = 0;
    /// The errno that says why the connection stays where it was; 0 when it was taken over.
    int error = 0;
  };
  /// Takes over a connection that was accepted elsewhere, by a descriptor of its own: the caller closes the
  /// other one. `input` was read from the connection: a request's head, and what has come behind it. The
  /// connection ends with the response to that request, unless it becomes a WebSocket. Without TLS only.
  Adoption take_over(int descriptor, std::string_view input);

  /// What is done with its requests.
  ExchangeOwner &http() { return *http_; }
  /// What is done with its topics. With its WebSockets: see ConnectionTable.
  Topics &topics() { return *topics_; }
  /// Of the whole life of this server.
  const Counters &counters() const { return counters_; }

  /// Stops listening and cuts every connection and exchange. Idempotent.
  virtual void stop() = 0;

 protected:
  WebSocketServer(EventLoop &loop, const ServerOptions &options, ServerEvents &events);

  /// From now on connections are accepted.
  virtual void started_listening() = 0;
  /// A connection was accepted.
  virtual void adopt(int descriptor, Endpoint remote, std::string_view proxied_address) = 0;
  /// A connection was handed over, with the head of a request.
  virtual ExchangeId adopt_with_request(int descriptor, std::string_view input) = 0;

  Counters counters_;
  /// Empty while the server does not listen.
  std::vector<std::unique_ptr<Listener>> listeners_;
  /// Null where no PROXY header is required, and after stop().
  std::unique_ptr<ProxyStage> proxies_;
  /// Null without TLS.
  std::unique_ptr<TlsEntries> tls_;
  std::optional<TlsFailure> tls_failure_;
  ExchangeOwner *http_ = nullptr;
  Topics *topics_ = nullptr;

 private:
  std::unique_ptr<Listener> make_listener();

  EventLoop &loop_;
  ServerEvents &events_;
  /// Descriptors are short, which was told.
  bool exhausted_ = false;
};

}  // namespace nws
