// The one owner of everything native in a Node environment (the main thread, or a worker): loop, connections,
// servers, and the channel through which events and commands pass.
#pragma once

#include <napi.h>
#include <uv.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "protocol.h"
#include "server/net/lent_memory.h"
#include "server/websocket_server.h"

namespace nws {

/// One server, and the events that it puts into the inbox.
class HostedServer;

/// Messages that are attached because they were dropped for some sockets: the server and its number for the
/// message, and the index of the attachment.
using DroppedMessages = std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t>;

/// Made when the module is loaded. `attach` brings it to life; Node's clean-up hook ends it: JavaScript is
/// never called again, every handle is closed, and only then may the environment go on. Lives on the
/// environment's thread.
///
/// JavaScript runs in one place: `flush`, at the end of a loop iteration, before the loop blocks, and, where
/// much has come, between two sockets of the idle and the poll phase (Turns::set_hand_over). No µWebSockets
/// frame is on the stack then, so whatever it calls back is safe; and nothing is ever written
/// while a socket is being read, which µSockets' TLS would punish with the loss of what it has not decrypted
/// yet (openssl.c, us_internal_ssl_socket_write). What one iteration reads beyond the inbox is kept in
/// `overflow_`, which the budgets of a turn bound (server/net/turns.h).
class Environment : public std::enable_shared_from_this<Environment> {
 public:
  /// False when Node-API refuses.
  static bool create(Napi::Env env);
  /// Null after clean-up has begun.
  static std::shared_ptr<Environment> of(Napi::Env env);

  explicit Environment(Napi::Env env);
  ~Environment();

  // ---- called from JavaScript ----

  /// Takes the shared memory and the function that reads the inbox. False when an argument has the wrong
  /// shape.
  bool attach(Napi::Object shared);
  /// Takes the memory, an ArrayBuffer, in which messages are lent. It must be one that cannot be detached.
  /// False when there is some already, or this is none.
  bool lend_from(Napi::Value memory);
  bool attached() const { return connections_.has_value(); }
  /// Carries out the commands in the outbox, in order.
  void drain_outbox();

  /// Null when the environment has no loop (any more).
  HostedServer *open_server(std::uint32_t number, ServerOptions options);
  HostedServer *find_server(std::uint32_t number);
  /// Cuts its connections now; destroys it when no µWebSockets frame can be on the stack.
  void close_server(std::uint32_t number);

  ConnectionTable &connections() { return *connections_; }

  // ---- called from events ----

  /// Adds a record to the inbox.
  void push(std::uint32_t kind, std::uint32_t id, std::string_view payload);
  /// As push, for a message, of which a long one is attached. False when it cannot be represented in
  /// JavaScript (a text longer than its longest string).
  bool push_message(ConnectionId id, std::string_view payload, bool is_binary, const RouteOptions &route);
  /// Likewise, for a piece of a request's body.
  bool push_body(std::uint32_t server, ExchangeId exchange, std::string_view content, bool is_last);
  /// As push_message, for a message that was dropped for this socket: attached once for all sockets that miss
  /// it.
  void push_dropped(ConnectionId id, std::string_view payload, bool is_binary, const DroppedMessages::key_type &message);
  void push_close(ConnectionId id, std::uint16_t code, std::string_view reason, bool was_clean);
  /// Finishes the connection when everything that is in the inbox now has been delivered and answered.
  void finish_later(ConnectionId id) { ending_connections_.push_back(id); }

 private:
  struct Hooks;

  bool start();
  void flush();
  /// Keeps libuv's loop alive until its next turn in which the inbox is empty.
  void hold_loop();
  void let_loop_end();
  bool inbox_is_empty() const { return control_[protocol::inbox_end] == control_[protocol::inbox_read] && overflow_.empty(); }
  bool fits(std::size_t words) const { return control_[protocol::inbox_end] + words <= inbox_.size(); }
  void write(std::uint32_t kind, std::uint32_t id, std::size_t length, std::string_view payload);
  /// Adds a record whose payload is a Buffer or a string of its own. False when that cannot be made.
  bool attach(std::uint32_t kind, std::uint32_t id, std::string_view payload, bool is_binary);
  /// False when the message cannot be lent.
  bool push_lent(ConnectionId id, std::string_view payload);
  void finish_endings();
  /// Calls JavaScript until the inbox is empty. False when it cannot be called (any more).
  bool deliver();
  bool call_deliver();
  /// The index of a new attachment; none when it cannot be represented in JavaScript.
  std::optional<std::uint32_t> attach_message(std::string_view payload, bool is_binary);
  void begin_cleanup(napi_async_cleanup_hook_handle handle);

  Napi::Env env_;
  std::optional<Napi::AsyncContext> context_;
  Napi::FunctionReference deliver_;
  Napi::ObjectReference attachments_;
  std::uint32_t attachment_count_ = 0;
  DroppedMessages dropped_;

  // Memory of ArrayBuffers, which the references keep alive. An ArrayBuffer's memory does not move.
  std::array<Napi::ObjectReference, 5> memory_;
  std::span<std::uint32_t> inbox_, outbox_, control_;

  std::optional<ConnectionTable> connections_;
  std::optional<EventLoop> loop_;
  /// From the first route on that lends; what is lent belongs to messages in the inbox.
  std::optional<LentMemory> lent_;
  std::unordered_map<std::uint32_t, std::unique_ptr<HostedServer>> servers_;
  std::vector<std::unique_ptr<HostedServer>> closed_servers_;
  std::vector<ConnectionId> ending_connections_;
  /// Closed, but JavaScript may not know yet: released when it has read everything.
  std::vector<ConnectionId> closed_connections_;
  /// Records that came while the inbox was full, and how many of its words have gone into the inbox since.
  std::vector<std::uint32_t> overflow_;
  std::size_t overflow_read_ = 0;

  std::unique_ptr<Hooks> hooks_;
  /// JavaScript has said so, for EventLoop::wait_in_socket_set.
  bool waits_in_socket_set_ = false;
  bool flushing_ = false;
  bool holds_loop_ = false;
  bool ended_ = false;
};

class HostedServer final : public ServerEvents {
 public:
  HostedServer(Environment &environment, std::uint32_t number, EventLoop &loop, ServerOptions options)
      : environment_(environment),
        number_(number),
        server(WebSocketServer::create(loop, environment.connections(), std::move(options), *this)) {}

  void on_request(ExchangeId exchange, const RequestHead &head) override;
  bool on_body(ExchangeId exchange, std::string_view content, bool is_last) override {
    return environment_.push_body(number_, exchange, content, is_last);
  }
  void on_writable(ExchangeId exchange) override { environment_.push(tagged(protocol::writable), exchange, {}); }
  void on_abort(ExchangeId exchange) override;
  void on_open(const SocketData &) override {}  // `accept` has returned the id
  void on_message(const SocketData &socket, std::string_view payload, bool is_binary) override;
  void on_drain(const SocketData &socket) override { environment_.push(protocol::drain, socket.id, {}); }
  void on_fragment_drain(const SocketData &socket) override { environment_.push(protocol::fragment_drain, socket.id, {}); }
  void on_buffered_amount_low(const SocketData &socket) override {
    environment_.push(protocol::buffered_amount_low, socket.id, {});
  }
  void on_dropped(const SocketData &socket, std::string_view payload, bool is_binary, std::uint32_t publication) override;
  void on_ping(const SocketData &socket, std::string_view payload) override {
    environment_.push(protocol::ping, socket.id, payload);
  }
  void on_pong(const SocketData &socket, std::string_view payload, bool answers_own) override {
    environment_.push(protocol::pong | (answers_own ? protocol::answers_own : 0), socket.id, payload);
  }
  void on_sent(const SocketData &socket) override { environment_.push(protocol::sent, socket.id, {}); }
  void on_ending(const SocketData &socket) override { environment_.finish_later(socket.id); }
  void on_close(const SocketData &socket, std::uint16_t code, std::string_view reason, bool was_clean) override {
    environment_.push_close(socket.id, code, reason, was_clean);
  }
  void on_descriptors_exhausted() override;

 private:
  std::uint32_t tagged(protocol::Event kind) const { return kind | number_ << 8; }

  Environment &environment_;
  std::uint32_t number_;
  /// Of on_request, kept for its memory.
  std::string lines_;

 public:
  std::unique_ptr<WebSocketServer> server;
};

}  // namespace nws
