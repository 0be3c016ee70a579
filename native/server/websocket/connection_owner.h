// What can be done with one connection, whether it speaks TLS or not.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "server/websocket/socket_data.h"

namespace nws {

/// What a fragment is in its message. The first one says what holds for all.
struct Fragment {
  bool is_binary, is_first, is_last;
  Compress compress;
};

/// Implemented by each server for its own connections. `socket` is what ConnectionTable::find gave, and is
/// used at once: any call may close it. All of it on the loop's thread.
class ConnectionOwner {
 public:
  /// Sends one message or Ping, after what was published to this connection before. No limit is applied here:
  /// the code that has returned the status to the sender has applied it. Nothing happens once the connection
  /// is closing. `compress` is for messages alone, and means nothing where no compression was agreed on.
  /// `report_sent` as well: on_sent follows when the message has left, at the earliest with `report`.
  virtual void send(void *socket, std::string_view payload, OpCode op_code, Compress compress = Compress::by_size,
                    bool report_sent = false) = 0;
  /// Raises on_sent for each message that has left meanwhile. Not inside of `cork`.
  virtual void report(void *socket) = 0;
  /// Starts the closing handshake.
  virtual void close(void *socket, std::uint16_t code, std::string_view reason) = 0;
  /// Ends the connection as an error of the peer would: nothing more is delivered, on_ending is raised. The
  /// one call that an event may make.
  virtual void fail(void *socket, std::uint16_t code) = 0;
  /// Ends a connection for which on_ending was raised: a Close frame, the close event, and FIN when
  /// everything is written. While the connection is paused nothing happens: `resume` raises on_ending once
  /// more.
  virtual void finish(void *socket) = 0;
  /// Cuts the connection; its close event comes before this returns.
  virtual void terminate(void *socket) = 0;
  /// A message in fragments begins: whatever is sent or published from now on waits behind it. Any number may
  /// have begun; the calls below concern the one that began first.
  virtual void begin_message(void *socket) = 0;
  /// Whether no earlier bytes wait for the peer. If not, on_fragment_drain follows.
  virtual bool ready_for_fragment(void *socket) = 0;
  virtual void send_fragment(void *socket, std::string_view payload, const Fragment &fragment) = 0;
  /// Ends a message of which nothing was sent.
  virtual void withdraw_message(void *socket) = 0;
  /// Stops reading, until `resume` or `close`: the peer is not heard, and its silence does not count. An
  /// ending that has begun waits.
  virtual void pause(void *socket) = 0;
  virtual void resume(void *socket) = 0;
  /// Runs `step(argument)`, whose sends to this socket leave together.
  virtual void cork(void *socket, void (*step)(void *), void *argument) = 0;

  /// False when it was subscribed already, or is closing.
  virtual bool subscribe(void *socket, std::string_view topic) = 0;
  virtual bool unsubscribe(void *socket, std::string_view topic) = 0;
  virtual bool is_subscribed(void *socket, std::string_view topic) = 0;
  virtual std::vector<std::string_view> topics(void *socket) = 0;

  // ---- from what reads the connection's socket ----

  /// Frames have come; the memory is the parser's to change, and has room around it.
  virtual void receive(void *socket, char *bytes, std::size_t length) = 0;
  /// A frame of the server's own was written, with so many bytes of payload.
  virtual void note_frame(void *socket, std::size_t length) = 0;
  /// The parser has found that the connection's end has begun.
  virtual void ending(void *socket) = 0;
  /// The connection was reset while it was paused.
  virtual void reset(void *socket) = 0;

 protected:
  ~ConnectionOwner() = default;
};

}  // namespace nws
