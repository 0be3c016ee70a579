// A host that echoes, and keeps a record of what it was told.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "server/websocket_server.h"

namespace test {

using nws::ConnectionId;
using nws::ExchangeId;
using nws::OpCode;

/// Echoes, accepts every upgrade, answers every other request with its path; keeps a record.
class EchoEvents : public nws::ServerEvents {
 public:
  void on_request(ExchangeId exchange, const nws::RequestHead &head) override {
    bool upgrade = false;
    for (const auto &[name, value] : head.headers) {
      upgrade = upgrade || name == "upgrade";
    }
    requests++;
    remote_address = head.remote_address;
    waiting.push_back({exchange, upgrade, std::string(head.url)});
  }
  bool on_body(ExchangeId, std::string_view content, bool is_last) override {
    body.append(content).append(is_last ? "|" : "");
    return true;
  }
  void on_writable(ExchangeId) override { writables++; }
  void on_abort(ExchangeId exchange) override { aborted.push_back(exchange); }
  void on_open(const nws::SocketData &socket) override { opened.push_back(socket.id); }
  void on_message(const nws::SocketData &socket, std::string_view payload, bool is_binary) override {
    messages++;
    messages_of[socket.id]++;
    if (lend) {
      lend(payload);
    }
    to_send.push_back({socket.id, std::string(payload), is_binary ? OpCode::binary : OpCode::text});
  }
  void on_drain(const nws::SocketData &) override { drains++; }
  void on_fragment_drain(const nws::SocketData &) override { fragment_drains++; }
  void on_buffered_amount_low(const nws::SocketData &) override { lows++; }
  void on_dropped(const nws::SocketData &, std::string_view payload, bool, std::uint32_t publication) override {
    dropped.emplace_back(payload, publication);
  }
  void on_ping(const nws::SocketData &socket, std::string_view payload) override {
    pings.emplace_back(payload);
    to_send.push_back({socket.id, std::string(payload), OpCode::pong});
  }
  void on_pong(const nws::SocketData &, std::string_view payload, bool) override { pongs.emplace_back(payload); }
  void on_sent(const nws::SocketData &) override { sents++; }
  void on_ending(const nws::SocketData &socket) override { to_finish.push_back(socket.id); }
  void on_close(const nws::SocketData &socket, std::uint16_t code, std::string_view reason, bool) override {
    closes.push_back({code, std::string(reason)});
    to_release.push_back(socket.id);
  }
  void on_descriptors_exhausted() override { exhausted++; }

  struct ToSend {
    ConnectionId id;
    std::string payload;
    OpCode op_code;
  };
  struct Waiting {
    ExchangeId exchange;
    bool upgrade;
    std::string url;
  };
  std::vector<Waiting> waiting;
  std::vector<ToSend> to_send;
  std::vector<ExchangeId> aborted;
  std::vector<ConnectionId> opened, to_finish, to_release;
  std::vector<std::pair<int, std::string>> closes;
  std::vector<std::string> pings, pongs;
  std::string remote_address;
  std::vector<std::pair<std::string, std::uint32_t>> dropped;
  std::map<ConnectionId, int> messages_of;
  /// Gets each message before it is copied.
  std::function<void(std::string_view)> lend;
  int requests = 0, messages = 0, drains = 0, lows = 0, fragment_drains = 0, sents = 0, exhausted = 0, writables = 0;
  std::string body;
};

}  // namespace test
