// What all connections together get in a pass of the loop, and what is accepted in one.
#include <algorithm>

#include "fixture.h"
#include "server/net/listener.h"

namespace {

using nws::Turns;
using test::Fixture;
using test::RawClient;

/// Runs the loop until the number is reached, and gives the most that it grew by in one iteration.
int most_in_an_iteration(Fixture &fixture, const std::function<int()> &so_far, int until, const char *what) {
  int most = 0;
  fixture.wait(
      [&, before = so_far()]() mutable {
        int now = so_far();
        most = std::max(most, now - before);
        before = now;
        return now >= until;
      },
      what);
  return most;
}

TEST("no more connections are accepted in an iteration than its total, however many wait") {
  constexpr int count = 3 * nws::Listener::max_accepted;
  Fixture fixture;
  fixture.listen();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < count; i++) {
    clients.push_back(fixture.connect());  // to the kernel: the loop does not run
  }
  auto accepted = [&] { return static_cast<int>(fixture.server->counters().tcp_connections); };
  CHECK(accepted() == 0);
  CHECK(most_in_an_iteration(fixture, accepted, count, "all connections") == nws::Listener::max_accepted);
}

TEST("no more steps of TLS handshakes are taken in an iteration than its total, however many clients begin one") {
  constexpr int most = static_cast<int>(Turns::max_handshake_steps);
  constexpr int count = 3 * most;
  Fixture fixture(Fixture::tls());
  fixture.listen();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < count; i++) {
    clients.push_back(std::make_unique<RawClient>(&fixture.loop, fixture.port, false));
  }
  auto accepted = [&] { return fixture.server->counters().tcp_connections == count; };
  fixture.wait(accepted, "all connections");
  for (auto &client : clients) {
    client->send("This is no ClientHello.");
  }
  // The one step that each takes is answered with an alert, or an end.
  auto answered = [&] {
    return static_cast<int>(std::count_if(clients.begin(), clients.end(), [](auto &client) { return client->has_received(); }));
  };
  CHECK(answered() == 0);
  CHECK(most_in_an_iteration(fixture, answered, count, "all answers") == most);
}

TEST("no more is inflated in a pass than its total, however many clients send compressed messages") {
  // What one message inflates to is less than a client's share, so that each is inflated in one step.
  constexpr std::size_t length = Turns::max_inflated / 2;
  constexpr int per_pass = static_cast<int>(Turns::max_total_inflated / length);
  constexpr int count = 6 * per_pass;
  nws::RouteOptions route = test::limits();
  route.compression = true;
  Fixture fixture(Fixture::plain(route));
  constexpr nws::CompressionWindows::Window window{.bits = 15, .takeover = false};
  fixture.compression = {.windows = {.compressor = window, .decompressor = window},
                         .options = {.threshold = 1 << 30, .memory_level = 8},
                         .extension = "permessage-deflate"};
  fixture.listen();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < count; i++) {
    clients.push_back(fixture.connect_websocket());
  }
  nws::Deflater deflater(15, 8);
  nws::ScratchBuffer out;
  std::string frame = RawClient::frame(2, deflater.deflate(std::string(length, 'x'), true, out), true, true, 4);
  for (auto &client : clients) {
    client->send(frame);
  }
  auto messages = [&] { return fixture.events.messages; };
  CHECK(messages() == 0);
  int most = most_in_an_iteration(fixture, messages, count, "all messages");
  // An iteration has two passes. What a message costs is its own length too, and some for each block.
  CHECK(most > per_pass / 2 && most <= 2 * per_pass);
  CHECK(fixture.events.closes.empty());
}

}  // namespace
