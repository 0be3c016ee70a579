// The layout of the memory that C++ and JavaScript exchange batches through.
// src/engine/native/channel-layout.ts says the same in TypeScript.
//
// A record is three 32-bit words (id, kind, length), then `length` bytes, padded to a whole word.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nws::protocol {

constexpr std::size_t header_words = 3;
constexpr std::size_t record_words(std::size_t length) { return header_words + (length + 3) / 4; }

/// Words of the control block.
enum Control : std::size_t {
  /// Where the next record of the inbox goes, in words. C++ advances it, JavaScript resets it.
  inbox_end = 0,
  /// Up to where JavaScript has read the inbox.
  inbox_read = 1,
  /// Where the next record of the outbox goes, in words. JavaScript advances it, C++ resets it.
  outbox_end = 2,
  control_words = 4,
};

/// Kinds of inbox records; `id` is a connection, or from `request` on an exchange of the server whose number
/// is in the kind's upper 24 bits.
enum Event : std::uint32_t {
  text = 1,
  binary = 2,
  drain = 3,
  ping = 4,
  pong = 5,
  /// The close code in the kind's upper 16 bits, the reason as bytes.
  close = 6,
  buffered_amount_low = 7,
  fragment_drain = 8,
  /// A message whose command had report_sent has left.
  sent = 10,
  /// Text, on a route that takes it as bytes.
  text_bytes = 9,

  /// From here to `request`, `length` is an index into the array of attachments, and no bytes follow. First
  /// messages that are long.
  text_attached = 16,
  binary_attached = 17,
  /// Published messages that were left out; several records may share an attachment.
  dropped_text = 18,
  dropped_binary = 19,
  text_bytes_attached = 20,
  /// A long message in the lent memory: where it begins, in the kind's upper 24 bits, and its length. No
  /// bytes follow.
  binary_lent = 21,

  /// From here on it is about a server. A long piece of a request's body, attached like a long message.
  body_attached = 31,
  /// Lines (ISO 8859-1): method, url, remote address, remote port with local address and port, proxied
  /// address, "1" when a body follows, then header names and values in turn.
  request = 32,
  abort = 33,
  descriptors_exhausted = 34,
  /// The last of a server: everything that it had to say came before.
  server_closed = 35,
  /// A piece of a request's body, and the last one.
  body = 36,
  body_end = 37,
  writable = 38,
};

/// Whether no bytes follow a record's header: its `length` is an index into the array of attachments, or that
/// of a lent message.
constexpr bool is_elsewhere(std::uint32_t kind) { return (kind & 0xff) >= text_attached && (kind & 0xff) < request; }

/// Kinds of outbox records; `id` is a connection.
enum Command : std::uint32_t {
  send_text = 1,
  send_binary = 2,
  send_ping = 3,
  send_pong = 4,
  /// The close code in the kind's upper 16 bits, the reason as bytes.
  begin_close = 5,
  terminate = 6,
  /// The Pong for a Ping: for C++ like send_pong.
  answer_ping = 7,
};

/// In the kind of send_text and send_binary: the event `sent` is asked for.
constexpr std::uint32_t report_sent = 1 << 10;
/// In the kind of `close`: code and reason are the peer's.
constexpr std::uint32_t was_clean = 1 << 8;
/// In the kind of `pong`: it may answer a Ping of the server's own.
constexpr std::uint32_t answers_own = 1 << 8;

/// In the kind of send_text and send_binary: what the sender wants compressed, as nws::Compress counts it.
constexpr unsigned compress_shift = 8;
constexpr std::uint32_t compress_mask = 3;

/// A message longer than this is attached: copied once, into memory (or a string) that belongs to the handler
/// alone. Shorter ones are cheaper to copy twice than to give memory of their own.
constexpr std::size_t max_inline_message = 2048;

/// Bytes of the lent memory, at most.
constexpr std::size_t max_lent_memory = 1 << 24;

/// The longest record of another kind, a request, is shorter than this: µWebSockets refuses longer heads
/// (websocket_server.cpp).
constexpr std::size_t max_request = 64 * 1024;

// ---- between threads (thread_member.h, src/engine/native/thread-member.ts) ----

/// A record of a member's outbox: three words (bytes of the topic, bytes of the payload, flags), then both,
/// padded to a whole word.
constexpr std::size_t publication_header_words = 3;

/// A record of a member's inbox: four words (kind, topic's number, flags, length), then `length` bytes,
/// padded to a whole word.
constexpr std::size_t arrival_header_words = 4;

enum ThreadEvent : std::uint32_t {
  arrival = 1,
  /// The payload is a string or a Buffer in the attachments; its index in place of the length.
  arrival_attached = 2,
  /// So many messages were dropped as the length says.
  arrivals_lost = 3,
};

/// A message with this flag is text: attached, it is a string. The other flags are JavaScript's.
constexpr std::uint32_t text_flag = 1;

}  // namespace nws::protocol
