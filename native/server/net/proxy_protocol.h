// The PROXY protocol, version 2: a header that a proxy sends first on a connection, and that says whose
// connection it is (HAProxy's proxy-protocol.txt, section 2.2). The twin of src/engine/portable/proxy.ts.
#pragma once

#include <uv.h>

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "server/net/loop_timer.h"

namespace nws {

struct ProxyHeader {
  enum class State { incomplete, invalid, complete };
  State state = State::incomplete;
  /// How many bytes there are to read at least, before more can be said; 0 when it is complete.
  std::size_t missing = 0;
  /// The client's, in text. Empty where the header names none that is numeric and TCP's.
  std::string address;

  /// A larger header is invalid. Addresses take 216 bytes at most; the rest is for TLVs, certificates of
  /// clients among them.
  static constexpr std::size_t max_bytes = 16 * 1024;

  /// Of the first bytes of a connection, and no byte beyond the header.
  static ProxyHeader parse(std::string_view bytes);
};

/// Where accepted connections wait for their header. Reads the header and nothing beyond it, so that the next
/// owner of the descriptor reads TLS or HTTP from it. A connection is cut that sends anything else, or no
/// whole header within 10 seconds.
class ProxyStage {
 public:
  /// Takes the descriptor over. Called in libuv's poll phase, or from `take`.
  using Ready = std::function<void(int descriptor, std::string_view proxied_address)>;

  ProxyStage(uv_loop_t *loop, Ready ready) : loop_(loop), ready_(std::move(ready)), timer_(loop) {}
  /// Cuts the connections that wait. Not to be destroyed in `Ready`.
  ~ProxyStage();
  ProxyStage(const ProxyStage &) = delete;
  ProxyStage &operator=(const ProxyStage &) = delete;

  /// Takes over a descriptor that was just accepted, and does not block.
  void take(int descriptor);

 private:
  struct Waiting;
  /// libuv frees a handle's memory by a callback.
  struct WaitingCloser {
    void operator()(Waiting *waiting) const;
  };
  using Queue = std::list<std::unique_ptr<Waiting, WaitingCloser>>;

  /// What is known after reading all there is to read.
  static ProxyHeader read(int descriptor, std::string &bytes);
  void wait(int descriptor, std::string bytes);
  void readable(Waiting *waiting);
  /// Out of the queue, and the descriptor out of libuv.
  int release(Queue::iterator place);
  void cut_late();
  void watch_deadlines();

  uv_loop_t *loop_;
  Ready ready_;
  /// In the order of their deadlines.
  Queue waiting_;
  LoopTimer timer_;
};

}  // namespace nws
