// A turn of the loop is bounded: what one connection, and all of them together, may have done in it is
// counted here, and who has used up a share waits here for the next turn. docs/limits.md has the numbers for
// users.
#pragma once

#include <uv.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

struct us_loop_t;

namespace nws {

/// Parses what it has kept of a connection's input, when the connection's turn has come.
class TurnTaker {
 public:
  /// `socket` and `id` are those of the Ticket. The connection may have gone since: `id` tells.
  virtual void take_turn(void *socket, std::uint32_t id) = 0;

 protected:
  ~TurnTaker() = default;
};

/// Counts the work of a loop's turns, and holds the queue of connections with input that was read and not
/// parsed. Lives on the loop's thread.
///
/// Two passes of a turn parse input: the queue's (libuv's idle phase), and that of newly readable sockets
/// (the poll phase). JavaScript gets what each of them has brought before the next one begins, and where that
/// is much, in between; a pass that takes long with it ends. So a connection that has used up its share waits
/// behind all connections that newly have something to say, and the queue goes round: each gets one share, in
/// the order of its arrival.
class Turns {
 public:
  /// Shares of one connection in a pass. What a socket is read for at once is µSockets' buffer,
  /// LIBUS_RECV_BUFFER_LENGTH (CMakeLists.txt): 64 KiB.
  ///
  /// Requests begun: some 0.5 ms of small handlers, so that a pipeline is still handed over in batches.
  static constexpr std::uint32_t max_requests = 16;
  /// Messages, Pings and Pongs: some 20 µs of the parser and of small handlers. Each KiB of a message of more
  /// than 64 KiB counts as one more (frame_turn.h).
  static constexpr std::uint32_t max_events = 256;
  /// Bytes that compressed messages inflate to, or that are read for it: a step of this size, and it is the
  /// last one when all of them exceed this. Some 2 ms of zlib.
  static constexpr std::size_t max_inflated = 1024 * 1024;

  /// Of all connections in a pass: some 10 ms of each. Of what is read, where it is as slow as it can be (TLS
  /// records of one byte, or chunks): some 40 ms.
  static constexpr std::size_t max_total_read = 8 * 1024 * 1024;
  static constexpr std::uint32_t max_total_requests = 256;
  static constexpr std::uint32_t max_total_events = 16 * 1024;
  static constexpr std::size_t max_total_inflated = 8 * 1024 * 1024;
  /// Steps of TLS handshakes in a turn. A handshake takes two, the first of which is up to a millisecond of
  /// signing. µSockets allows 5 steps (loop.c); in the long turns of a server that is attacked, new clients
  /// then had to wait for 10 seconds.
  static constexpr std::uint32_t max_handshake_steps = 32;

  /// What is begun, at the most, before JavaScript is given it: events, of which a request counts for 32.
  /// Some 50 µs of small handlers, of which the call into JavaScript is a fiftieth.
  static constexpr std::uint32_t max_batch = 256;
  static constexpr std::uint32_t events_of_request = 32;
  /// Nanoseconds: when a pass has taken so long, nothing more is begun in it.
  static constexpr std::uint64_t max_pass_time = 10'000'000;

  struct Ticket {
    TurnTaker *taker;
    void *socket;
    std::uint32_t id;
  };

  /// What one HTTP connection has begun, and in which pass.
  struct RequestShare {
    std::uint64_t pass = 0;
    std::uint32_t begun = 0;
  };

  /// `sockets` is µSockets' side of the same loop, and outlives this.
  Turns(uv_loop_t *loop, us_loop_t *sockets);
  /// Only asks libuv to close its handle: the loop must run once more.
  ~Turns();
  Turns(const Turns &) = delete;
  Turns &operator=(const Turns &) = delete;

  /// `hand_over` gives JavaScript what has come. It is called between two connections, with no callback of
  /// µSockets below it, and may close anything.
  void set_hand_over(std::function<void()> hand_over) { hand_over_ = std::move(hand_over); }
  /// Between two connections: hands over when as much has come as handlers are given at once, which is less
  /// where they take long. So 256 requests for long responses are not one turn of two seconds.
  void hand_over_if_due();
  /// JavaScript should be given what has come before another connection brings more.
  void make_hand_over_due() { is_due_ = true; }
  /// Likewise, but in any case.
  void hand_over() {
    if (hand_over_) {
      hand_over_();
    }
  }

  /// Sockets are looked at from now on, by uv_hrtime: where the pass begins with it, it is counted from here.
  void begin_reading(std::uint64_t now);
  /// The loop does not block while a ticket waits. `spent`: the connection has had a share in this pass, and
  /// lets those go first that have not.
  void wait(const Ticket &ticket, bool spent);
  /// Before the taker is destroyed.
  void forget(const TurnTaker *taker);

  /// How many sockets may be read in this pass, if each gives so many bytes.
  std::size_t reads_left(std::size_t bytes);
  void spend_read(std::size_t bytes) { readable_ -= bytes < readable_ ? bytes : readable_; }
  /// Falls, within a pass, with each request, event or inflated byte that is counted.
  std::size_t work_left() const { return requests_left_ + events_left_ + inflatable_; }
  /// Whether one more request may begin in this pass; counts it.
  bool take_request(RequestShare &share);
  /// Events that a connection may have in this pass; 0 when all connections together have had theirs.
  std::uint32_t events_left();
  void spend_events(std::uint32_t events) {
    events_left_ -= events < events_left_ ? events : events_left_;
    begun_ += events;
  }
  /// Whether a message may be inflated in this pass.
  bool may_inflate() const { return inflatable_ > 0; }
  void spend_inflated(std::size_t bytes) { inflatable_ -= bytes < inflatable_ ? bytes : inflatable_; }
  /// Whether a TLS handshake may take a step in this turn; counts it.
  bool take_handshake_step();

  /// The one of this thread; null where there is none.
  static Turns *current();

 private:
  struct Handle;

  std::uint64_t pass() const;
  void begin_pass();
  void end_pass_if_long();
  void serve();

  us_loop_t *sockets_;
  std::unique_ptr<Handle> handle_;  // freed by libuv's callback
  /// Connections that have had no share in the pass in which they came, and those that have.
  std::deque<Ticket> fresh_, spent_;
  std::function<void()> hand_over_;
  /// Events, and requests as events, since JavaScript was given some, and of how many on it is given them.
  std::uint32_t begun_ = 0;
  std::uint32_t batch_ = max_batch;
  bool is_due_ = false;
  /// Nanoseconds, of uv_hrtime; 0 before the clock was looked at in this pass.
  std::uint64_t pass_began_ = 0;
  std::uint64_t idles_ = 0;
  std::uint64_t pass_ = 0;
  std::size_t readable_ = max_total_read;
  std::uint32_t requests_left_ = max_total_requests;
  std::uint32_t events_left_ = max_total_events;
  std::size_t inflatable_ = max_total_inflated;
  std::uint32_t handshake_steps_left_ = max_handshake_steps;
};

}  // namespace nws
