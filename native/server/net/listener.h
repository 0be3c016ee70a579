// A listening socket of our own, of TCP or unix, rather than µSockets': it knows why it could not listen, and
// it survives a process that has run out of file descriptors, where µSockets' accept loop would spin.
#pragma once

#include <uv.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "server/net/endpoint.h"

namespace nws {

struct ListenAddress {
  /// A bound stream socket, which the listener owns from the moment at which it listens; the rest is ignored
  /// then. Negative: none.
  int descriptor = -1;
  /// The path of a unix socket, which is made by listening and removed at the end. Empty: TCP, as the rest
  /// says.
  std::string unix_path;
  /// A numeric IPv4 or IPv6 address. `::` accepts IPv4 clients too.
  std::string host;
  /// 0 lets the system choose.
  std::uint16_t port = 0;
  /// SO_REUSEPORT: share the port with other sockets that ask for it too.
  bool reuse_port = false;
};

/// What came of listening: where, as the system says, or the errno that says why not.
struct ListenResult {
  /// Empty for a unix socket.
  std::string host;
  /// 0 for a unix socket.
  int port = 0;
  int error = 0;
  explicit operator bool() const { return error == 0; }
};

/// Listens from open() until it is destroyed. Lives on its loop's thread; the callbacks run in libuv's poll
/// phase.
class Listener {
 public:
  /// Accepted in one go, before those who are connected get their turn.
  static constexpr int max_accepted = 64;

  struct Callbacks {
    /// Takes over the descriptor. `remote` is the peer.
    std::function<void(int descriptor, Endpoint remote)> accepted;
    /// accept(2) has failed for want of descriptors or memory; said at each attempt.
    std::function<void()> exhausted;
  };

  explicit Listener(Callbacks callbacks) : callbacks_(std::move(callbacks)) {}

  /// Binds and listens. At most once.
  ListenResult open(uv_loop_t *loop, const ListenAddress &address);
  /// Whether this keeps the loop alive. It does at first.
  void ref(bool keep_alive);

 private:
  /// The libuv handles, which must stay where they are until libuv has closed them.
  struct Handles;
  struct HandlesCloser {
    void operator()(Handles *handles) const;
  };

  ListenResult open_given(uv_loop_t *loop, int descriptor);
  ListenResult open_new(uv_loop_t *loop, const ListenAddress &address);
  void start();
  void accept_pending();
  void pause();
  void resume();

  Callbacks callbacks_;
  std::unique_ptr<Handles, HandlesCloser> handles_;
};

}  // namespace nws
