// What can be done with one HTTP exchange, whether its connection speaks TLS or not: EngineHttp of
// src/engine/contract.ts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "server/websocket/compression.h"
#include "server/websocket/socket_data.h"

namespace nws {

/// Names one HTTP request of one server that waits for a response; 0 is none.
using ExchangeId = std::uint32_t;
using Header = std::pair<std::string_view, std::string_view>;

struct Response {
  /// For example "200 OK".
  std::string_view status;
  /// Without Content-Length, Transfer-Encoding and Connection. Without a Date the server's own is sent.
  std::span<const Header> headers;
  /// What Content-Length announces; none: there is no such field (204, 304), and a response in pieces goes in
  /// chunks.
  std::optional<std::size_t> content_length;
  /// As long as it says; none: nothing is sent (HEAD, 204, 304).
  std::optional<std::string_view> body;
  /// Ends the connection. What still comes of the request's body is thrown away for some seconds, so that the
  /// client can read the response, rather than see its connection reset.
  bool closes = false;
};

/// Implemented by each server for its own exchanges. All of it on the loop's thread, outside of events.
class ExchangeOwner {
 public:
  /// False when the exchange has ended. Once listening has stopped, the connection ends with the response.
  virtual bool respond(ExchangeId exchange, const Response &response) = 0;
  /// Begins a response in pieces, which come to exactly its content length, if it has one. False when the
  /// exchange has ended.
  virtual bool begin_response(ExchangeId exchange, const Response &head) = 0;
  /// Sends a piece of at most 2^31-1 bytes; an empty one is left out. False when it waits for the client:
  /// on_writable follows.
  virtual bool write(ExchangeId exchange, std::string_view chunk) = 0;
  /// `closes` as in Response.
  virtual void end_response(ExchangeId exchange, bool closes) = 0;
  /// Cuts the connection, without an event.
  virtual void abort(ExchangeId exchange) = 0;
  /// Stops to read the body; a little more of it may come.
  virtual void pause_body(ExchangeId exchange) = 0;
  /// Reads on, and sends `100 Continue` to a client that waits for it.
  virtual void resume_body(ExchangeId exchange) = 0;
  /// Completes the WebSocket handshake. The connection's events may begin before this returns, but for
  /// messages. 0 when the exchange has ended or was no GET with a key of 16 bytes; with a full connection
  /// table the response is 503, with a body that has not come whole 400. `compression` becomes
  /// Sec-WebSocket-Extensions, which is not among the headers. Without `limits` the route's hold.
  virtual ConnectionId accept(ExchangeId exchange, std::size_t route, std::string_view protocol, std::span<const Header> headers,
                              const std::optional<CompressionAgreement> &compression = {},
                              const std::optional<ConnectionLimits> &limits = {}) = 0;

  /// The certificate that the client has shown and that an authority of the server has signed, as DER; empty
  /// where there is none, and when the exchange has ended.
  virtual std::string peer_certificate(ExchangeId exchange) = 0;

  /// Whether the clients have every response, or, where the system tells, their systems have.
  virtual bool is_flushed() = 0;

 protected:
  ~ExchangeOwner() = default;
};

}  // namespace nws
