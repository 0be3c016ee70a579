#include "outbox.h"

#include <cstddef>
#include <string_view>
#include <utility>

#include "protocol.h"
#include "server/websocket/connection_owner.h"

namespace nws {

namespace {

Compress compress_of(std::uint32_t kind) {
  return static_cast<Compress>(kind >> protocol::compress_shift & protocol::compress_mask);
}

/// Walks through the outbox. `run` carries out the commands of one connection that stand next to each other.
struct OutboxCursor {
  std::span<std::uint32_t> words;
  std::size_t at;
  ConnectionTable &connections;
  /// A message of this connection is to be reported.
  bool has_reports = false;

  std::size_t next() const { return at + protocol::record_words(words[at + 2]); }
  /// Whether a whole record is here. What a bug above us might write must not lead out of the memory.
  bool has_record() const { return at + protocol::header_words <= words.size() && next() <= words.size(); }

  bool reports(std::uint32_t kind) {
    bool result = kind & protocol::report_sent;
    has_reports = has_reports || result;
    return result;
  }

  [[gnu::hot]] void run() {
    ConnectionId id = words[at];
    do {
      if (auto *entry = connections.find(id)) {
        std::uint32_t kind = words[at + 1];
        std::string_view payload(reinterpret_cast<const char *>(&words[at + protocol::header_words]), words[at + 2]);
        switch (kind & 0xff) {
          case protocol::send_text:
            entry->owner()->send(entry->socket, payload, OpCode::text, compress_of(kind), reports(kind));
            break;
          case protocol::send_binary:
            entry->owner()->send(entry->socket, payload, OpCode::binary, compress_of(kind), reports(kind));
            break;
          case protocol::send_ping:
            entry->owner()->send(entry->socket, payload, OpCode::ping);
            break;
          case protocol::send_pong:
          case protocol::answer_ping:
            entry->owner()->send(entry->socket, payload, OpCode::pong);
            break;
          case protocol::begin_close:
            entry->owner()->close(entry->socket, static_cast<std::uint16_t>(kind >> 16), payload);
            break;
          case protocol::terminate:
            entry->owner()->terminate(entry->socket);
            break;
        }
      }
      at = next();
    } while (has_record() && words[at] == id);
  }
};

}  // namespace

[[gnu::hot]] void execute_commands(std::span<std::uint32_t> words, ConnectionTable &connections) {
  OutboxCursor cursor{words, 0, connections};
  while (cursor.has_record()) {
    ConnectionId id = words[cursor.at];
    std::size_t next = cursor.next();
    auto *entry = connections.find(id);
    if (entry && next < words.size() && words[next] == id) {
      entry->owner()->cork(
          entry->socket, [](void *argument) { static_cast<OutboxCursor *>(argument)->run(); }, &cursor);
    } else {
      cursor.run();
    }
    connections.quota(id).pending = 0;
    if (std::exchange(cursor.has_reports, false)) {
      if (auto *alive = connections.find(id)) {
        alive->owner()->report(alive->socket);
      }
    }
  }
}

}  // namespace nws
