// The rule of `send` in C++: how much may wait for a client, whether a published message has room, and when
// `drain` is due. What JavaScript sends is subject to the same rule in src/engine/send-quota.ts, before it
// comes here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "server/websocket/socket_data.h"

namespace nws {

/// What the sender of a connection must know to return a status at once, in memory that it shares with us (it
/// may be JavaScript's). 32 bytes: one cache line holds the whole of it. src/engine/native/channel-layout.ts
/// knows the same layout.
struct SendQuota {
  /// Bytes that µWebSockets holds for a client that does not read fast enough. Written by the server.
  std::uint32_t buffered;
  /// Bytes in commands that were not carried out yet. The sender adds to it, execute_commands resets it.
  std::uint32_t pending;
  /// The connection's max_backpressure: of what waits. A message is taken, whatever its length, when nothing
  /// does. Less by `fragment` while a message is being sent in fragments.
  std::uint32_t limit;
  /// The `drain` that statuses returned since the last one have promised: a combination of the two values
  /// below. Written by the sender, cleared by the server.
  std::uint32_t drain_owed;
  /// The connection that has this slot, and its state: the id alone while messages may be sent, the id with
  /// `closing` when no more may be; 0 when the slot is free, or the connection has ended. Both sides set
  /// `closing`.
  ConnectionId id;
  /// Bytes that `buffered` is to be below, for on_buffered_amount_low; 0 when no event is wanted. Written by
  /// the sender, cleared by the server.
  std::uint32_t low_threshold;
  /// The connection's max_fragment_length.
  std::uint32_t fragment;
  /// Bytes of all frames that were given to µWebSockets for the connection, modulo 2^32.
  std::uint32_t written;

  /// Whether a message that was published may join the `waiting` bytes. What was sent since, and taken, has
  /// its room already; it does not wait in front of it.
  bool has_room_for_published(std::uint32_t waiting, std::size_t length) const {
    return waiting == 0 || std::size_t{waiting} + pending + length <= limit;
  }

  /// A frame with so many bytes of payload was given to µWebSockets. Its head is that of a server, without a
  /// mask (RFC 6455, section 5.2).
  void note_frame(std::size_t length) {
    std::size_t head = length < 126 ? 2 : length <= UINT16_MAX ? 4 : 10;
    written += static_cast<std::uint32_t>(head + length);
  }

  /// Whether `drain` is due: the queue is empty, or has room again after a message that was not taken.
  bool drain_is_due() const {
    bool has_room = (drain_owed & drain_when_room) && buffered < limit;
    return drain_owed && (buffered == 0 || has_room);
  }
  /// `drain` is raised. What was promised for an empty queue is still owed while bytes wait.
  void drain_is_raised() { drain_owed = buffered == 0 ? 0 : drain_owed & ~drain_when_room; }

  /// In `id`, which has 31 bits.
  static constexpr std::uint32_t closing = 1u << 31;
  /// In `drain_owed`. A message was taken while earlier bytes waited.
  static constexpr std::uint32_t drain_when_empty = 1;
  /// A message was not taken.
  static constexpr std::uint32_t drain_when_room = 2;
};
static_assert(sizeof(SendQuota) == 32);

}  // namespace nws
