// Numbers for connections. A socket's address never leaves native/server: a sender holds a ConnectionId, and
// a call with the id of a connection that has ended finds nothing, never another connection.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "server/websocket/send_quota.h"
#include "server/websocket/socket_data.h"

namespace nws {

/// The connections of one thread, of all its servers. Not thread-safe: it belongs to its loop's thread.
class ConnectionTable {
 public:
  /// An id is a slot in its low bits and, above, a count of how often the slot was used. 31 bits in all, so
  /// that a JavaScript engine keeps it as a small integer.
  static constexpr unsigned slot_bits = 20;
  static constexpr unsigned generation_bits = 11;
  static constexpr std::uint32_t slot_mask = (1u << slot_bits) - 1;
  /// Slot 0 is never given, so that no id is 0.
  static constexpr std::size_t capacity = slot_mask;

  struct Entry {
    /// The µWebSockets socket; null before it is opened, and when it has closed. Not ours.
    void *socket = nullptr;
    const Route *route = nullptr;

    ConnectionOwner *owner() const { return route->owner; }
  };

  /// `quotas` has room for every slot (capacity + 1), starts zeroed, and outlives the table.
  explicit ConnectionTable(std::span<SendQuota> quotas) : quotas_(quotas), slots_(1) {}

  bool full() const { return free_.empty() && slots_.size() > capacity; }
  /// Takes a slot for a connection that is about to open; 0 when the table is full. The id finds nothing yet.
  ConnectionId reserve(const Route &route, const ConnectionLimits &limits);
  /// From now on the id finds the socket.
  void open(ConnectionId id, void *socket) { slots_[id & slot_mask].entry.socket = socket; }
  /// The socket has closed: from now on the id finds nothing. The slot stays taken.
  void close(ConnectionId id);
  /// No command with this id can follow: its slot may serve another connection.
  void release(ConnectionId id);
  /// Null when the connection has closed.
  const Entry *find(ConnectionId id) const;
  SendQuota &quota(ConnectionId id) { return quotas_[id & slot_mask]; }

 private:
  struct Slot {
    Entry entry;
    std::uint32_t generation = 0;
  };
  static ConnectionId make_id(std::uint32_t slot, std::uint32_t generation) {
    return ((generation & ((1u << generation_bits) - 1)) << slot_bits) | slot;
  }

  std::span<SendQuota> quotas_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
};

}  // namespace nws
