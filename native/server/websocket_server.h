// A WebSocket and HTTP server on µWebSockets.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/counters.h"
#include "server/net/event_loop.h"
#include "server/net/listener.h"
#include "server/net/tls_context.h"
#include "server/websocket/connection_owner.h"
#include "server/websocket/connection_table.h"

namespace nws {

/// Names one HTTP request of one server that waits for an answer; 0 is none.
using ExchangeId = std::uint32_t;
using Header = std::pair<std::string_view, std::string_view>;

/// An HTTP request. The views are valid during the event only.
struct RequestHead {
  std::string_view method;
  std::string_view url;
  /// In text; an IPv4 peer of a dual-stack socket appears as IPv4.
  std::string_view remote_address;
  /// The client's, as a PROXY header has told; empty when none has.
  std::string_view proxied_address;
  /// Names in lower case, in the order in which they came.
  std::span<const Header> headers;
  /// Content follows, in at least one on_body.
  bool has_body;
};

struct Response {
  /// For example "200 OK".
  std::string_view status;
  /// Without Content-Length, Transfer-Encoding and Connection. Without a Date the server's own is sent.
  std::span<const Header> headers;
  /// What Content-Length announces; none: there is no such field (204, 304), and an answer in pieces goes in
  /// chunks.
  std::optional<std::size_t> content_length;
  /// As long as it says; none: nothing is sent (HEAD, 204, 304).
  std::optional<std::string_view> body;
  /// Ends the connection. What still comes of the request's body is thrown away for some seconds, so that the
  /// client can read the answer, rather than see its connection reset.
  bool closes = false;
};

struct ServerOptions {
  ListenAddress address;
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
  /// After `write` has answered false: everything is written.
  virtual void on_writable(ExchangeId exchange) = 0;
  /// The client of a request that is not answered, or whose body has not come whole, has gone.
  virtual void on_abort(ExchangeId exchange) = 0;

  virtual void on_open(const SocketData &socket) = 0;
  /// The payload is µWebSockets' memory, and is overwritten after the event.
  virtual void on_message(const SocketData &socket, std::string_view payload, bool is_binary) = 0;
  /// After an answer of "backpressure" or "dropped": the queue is empty, or has room again.
  virtual void on_drain(const SocketData &socket) = 0;
  /// The queue is below the threshold in Account::watch.
  virtual void on_buffer_low(const SocketData &socket) = 0;
  /// No bytes wait any more before the next fragment of a message.
  virtual void on_fragment_drain(const SocketData &socket) = 0;
  /// A published message was left out for a connection whose queue is full; only on routes that ask for it.
  /// `publication` tells the server's messages apart that are on their way.
  virtual void on_dropped(const SocketData &socket, std::string_view payload, bool is_binary, std::uint32_t publication) = 0;
  /// The handler sends the Pong.
  virtual void on_ping(const SocketData &socket, std::string_view payload) = 0;
  virtual void on_pong(const SocketData &socket, std::string_view payload) = 0;
  /// The peer has sent its Close frame, or a frame that ends the connection. The handler calls
  /// ConnectionOwner::finish when the messages before that frame have been handled.
  virtual void on_ending(const SocketData &socket) = 0;
  /// The id finds nothing any more. The handler releases the id (ConnectionTable::release) when no command
  /// with it can follow.
  virtual void on_close(const SocketData &socket, std::uint16_t code, std::string_view reason) = 0;

  /// There are no descriptors left to accept clients with; see Listener.
  virtual void on_descriptors_exhausted() = 0;

 protected:
  ~ServerEvents() = default;
};

/// Owns its listening socket and its connections. Lives on its loop's thread. Not to be destroyed inside an
/// event.
class WebSocketServer {
 public:
  /// The loop, the table and the events outlive the server. Ask `tls_failure` before anything else.
  WebSocketServer(EventLoop &loop, ConnectionTable &connections, ServerOptions options, ServerEvents &events);
  /// Cuts what is still open: the close events come before this returns.
  ~WebSocketServer();

  /// Why the key and certificate cannot be used; the server is then good for nothing.
  const std::optional<TlsFailure> &tls_failure() const { return tls_failure_; }

  /// At most once.
  ListenResult listen();
  /// Idempotent.
  void stop_listening();
  /// New connections get these certificates. Nothing when they do; after a failure nothing has changed.
  std::optional<TlsFailure> reload_tls(const std::vector<TlsOptions> &entries);
  /// Whether the listening socket keeps the loop alive.
  void ref(bool keep_alive);

  /// False when the exchange has ended. Once listening has stopped, the connection ends with the answer.
  bool respond(ExchangeId exchange, const Response &response);
  /// Begins an answer in pieces, which come to exactly its content length, if it has one. False when the
  /// exchange has ended.
  bool begin_response(ExchangeId exchange, const Response &head);
  /// Sends a piece of at most 2^31-1 bytes; an empty one is left out. False when it waits for the client:
  /// on_writable follows.
  bool write(ExchangeId exchange, std::string_view chunk);
  /// `closes` as in Response.
  void end_response(ExchangeId exchange, bool closes);
  /// Cuts the connection, without an event.
  void abort(ExchangeId exchange);
  /// Stops to read the body; a little more of it may come.
  void pause_body(ExchangeId exchange);
  /// Reads on, and answers an "Expect: 100-continue".
  void resume_body(ExchangeId exchange);
  /// Completes the WebSocket handshake. The connection's events may begin before this returns, but for
  /// messages. 0 when the exchange has ended or was no GET with a key of 16 bytes; with a full connection
  /// table it is answered with 503, with a body that has not come whole with 400. `compression` becomes
  /// Sec-WebSocket-Extensions, which is not among the headers.
  ConnectionId accept(ExchangeId exchange, std::size_t route, std::string_view protocol, std::span<const Header> headers,
                      const std::optional<CompressionAgreement> &compression = {});

  /// To every subscriber but `except` (0: to all). False when there was none. A subscriber whose queue is
  /// full misses it.
  bool publish(std::string_view topic, std::string_view payload, bool is_binary, ConnectionId except,
               Compress compress = Compress::by_size);
  std::size_t subscribers(std::string_view topic);
  /// Of the whole life of this server.
  const Counters &counters() const;
  /// Writes what was published since the last time.
  void flush();
  /// Whether the kernel has taken every answer to an HTTP request.
  bool is_flushed();

  /// Stops listening and cuts every connection and exchange. Idempotent.
  void stop();

  class Core;

 private:
  std::optional<TlsFailure> tls_failure_;
  std::unique_ptr<Core> core_;
};

}  // namespace nws
