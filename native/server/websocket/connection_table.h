// Numbers for connections. A socket's address never leaves native/server: a sender holds a ConnectionId, and
// a call with the id of a connection that has ended finds nothing, never another connection.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "server/websocket/socket_data.h"

namespace nws {

/// What the sender of a connection must know to answer at once, in memory that it shares with us (it may be
/// JavaScript's). 32 bytes: one cache line holds the whole of it. src/engine/native/channel-layout.ts knows
/// the same layout.
struct Account {
  /// Bytes that µWebSockets holds for a client that does not read fast enough. Written by the server.
  std::uint32_t buffered;
  /// Bytes in commands that were not carried out yet. The sender adds to it, execute_commands resets it.
  std::uint32_t pending;
  /// The route's max_backpressure: of what waits. A message is taken, whatever its length, when nothing does.
  std::uint32_t limit;
  /// Which answers were given since the last `drain`: a combination of the two values below.
  std::uint32_t answers;
  /// The connection that has this slot, and its state: the id alone while messages may be sent, the id with
  /// `closing` when no more may be; 0 when the slot is free, or the connection has ended. Both sides set
  /// `closing`.
  ConnectionId id;
  /// Bytes that `buffered` is to be below, for on_buffer_low; 0 when no event is wanted. Written by the
  /// sender, cleared by the server.
  std::uint32_t watch;
  std::uint32_t reserved[2];

  /// Whether a message that was published may join the `waiting` bytes. What was sent since, and taken, has
  /// its room already; it does not wait in front of it.
  bool may_take_published(std::uint32_t waiting, std::size_t length) const {
    return waiting == 0 || std::size_t{waiting} + pending + length <= limit;
  }

  /// In `id`, which has 31 bits.
  static constexpr std::uint32_t closing = 1u << 31;
  static constexpr std::uint32_t answered_backpressure = 1;
  static constexpr std::uint32_t answered_dropped = 2;
};
static_assert(sizeof(Account) == 32);

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

  /// `accounts` has room for every slot (capacity + 1), starts zeroed, and outlives the table.
  explicit ConnectionTable(std::span<Account> accounts) : accounts_(accounts), slots_(1) {}

  bool full() const { return free_.empty() && slots_.size() > capacity; }
  /// Takes a slot for a connection that is about to open; 0 when the table is full. The id finds nothing yet.
  ConnectionId reserve(const Route &route);
  /// From now on the id finds the socket.
  void open(ConnectionId id, void *socket) { slots_[id & slot_mask].entry.socket = socket; }
  /// The socket has closed: from now on the id finds nothing. The slot stays taken.
  void close(ConnectionId id);
  /// No command with this id can follow: its slot may serve another connection.
  void release(ConnectionId id);
  /// Null when the connection has closed.
  const Entry *find(ConnectionId id) const;
  Account &account(ConnectionId id) { return accounts_[id & slot_mask]; }

 private:
  struct Slot {
    Entry entry;
    std::uint32_t generation = 0;
  };
  static ConnectionId make_id(std::uint32_t slot, std::uint32_t generation) {
    return ((generation & ((1u << generation_bits) - 1)) << slot_bits) | slot;
  }

  std::span<Account> accounts_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
};

}  // namespace nws
