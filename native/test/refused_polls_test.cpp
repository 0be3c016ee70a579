// What becomes of sockets for which the kernel does not poll: as where all processes of a user have as many
// sockets in epoll sets as /proc/sys/fs/epoll/max_user_watches says.
#ifdef __linux__
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "fixture.h"

namespace {

/// While it lives, no descriptor can be added to an epoll set. libuv must add none meanwhile: it would end
/// the process.
class WithoutWatches {
 public:
  WithoutWatches() { refuses = true; }
  ~WithoutWatches() { refuses = false; }
  WithoutWatches(const WithoutWatches &) = delete;
  WithoutWatches &operator=(const WithoutWatches &) = delete;

  static inline bool refuses = false;
  static inline int refused = 0;
};

}  // namespace

/// In place of libc's, in this program.
extern "C" __attribute__((visibility("default"))) int epoll_ctl(int set, int operation, int descriptor,
                                                                epoll_event *event) noexcept {
  if (WithoutWatches::refuses && operation == EPOLL_CTL_ADD) {
    WithoutWatches::refused++;
    errno = ENOSPC;
    return -1;
  }
  return static_cast<int>(syscall(SYS_epoll_ctl, set, operation, descriptor, event));
}

namespace {

using test::Fixture;
using test::for_plain_and_tls;
using test::RawClient;

TEST("a connection that cannot be polled for is closed at once, and others are served") {
  for_plain_and_tls([](Fixture &fixture) {
    auto before = fixture.connect_websocket();
    int refused = WithoutWatches::refused;
    RawClient client(&fixture.loop, fixture.port, false);  // it comes to no TLS handshake
    {
      WithoutWatches none;
      client.wait_for_end();
    }
    CHECK(WithoutWatches::refused == refused + 1);
    before->send_frame(1, "still here");
    CHECK(before->read_frame().payload == "still here");
    CHECK(fixture.connect_websocket() != nullptr);
  });
}

TEST("a connection that has rested, and cannot be polled for any more, is closed") {
  for_plain_and_tls([](Fixture &fixture) {
    auto before = fixture.connect_websocket(), client = fixture.connect_websocket();
    int refused = WithoutWatches::refused;
    {
      WithoutWatches none;
      client->send(RawClient::frame(2, std::string(1 << 20, 'x')).substr(0, 200'000));
      fixture.wait([&] { return fixture.events.closes.size() == 1; }, "the end");
    }
    CHECK(WithoutWatches::refused == refused + 1);
    before->send_frame(1, "still here");
    CHECK(before->read_frame().payload == "still here");
  });
}

}  // namespace
#endif
