// Handlers that take long: what is handed to them at a time, and what a pass begins then.
#include <algorithm>

#include "fixture.h"

namespace {

using nws::Turns;
using test::Fixture;
using test::for_plain_and_tls;
using test::most_messages_at_once;
using test::numbered_frames;
using test::RawClient;

/// What handlers take of a pass is all of it.
void hand_over_slowly(Fixture &fixture) {
  fixture.event_loop->turns().set_hand_over([&fixture] {
    uv_sleep(static_cast<unsigned>(Turns::max_pass_time / 1'000'000 + 1));
    fixture.answer();
  });
}

TEST("messages whose handlers take long are handed over between two clients, and end the pass") {
  for_plain_and_tls([](Fixture &fixture) {
    std::vector<std::unique_ptr<RawClient>> clients;
    for (int i = 0; i < 20; i++) {
      clients.push_back(fixture.connect_websocket());
    }
    hand_over_slowly(fixture);
    for (auto &client : clients) {
      client->send(numbered_frames(Turns::max_events + 1));
    }
    // Each of the two passes of an iteration ends with the first share.
    CHECK(most_messages_at_once(fixture, 600) <= static_cast<int>(2 * Turns::max_events));
    // From now on, less is handed over at a time.
    fixture.wait(
        [&, before = fixture.events.messages]() mutable {
          CHECK(fixture.events.messages - before <= static_cast<int>(Turns::max_events / 2));
          before = fixture.events.messages;
          return fixture.events.messages >= 800;
        },
        "messages in smaller numbers");
    fixture.event_loop->turns().set_hand_over([&fixture] { fixture.answer(); });
    for (auto &client : clients) {
      for (std::uint32_t i = 0; i <= Turns::max_events; i++) {
        CHECK(client->read_frame().payload == std::to_string(i));
      }
    }
  });
}

TEST("requests whose handlers take long are handed over between two clients, and end the pass") {
  for_plain_and_tls([](Fixture &fixture) {
    constexpr int count = 100;
    std::vector<std::unique_ptr<RawClient>> clients;
    for (int i = 0; i < count; i++) {
      clients.push_back(fixture.connect());
      clients.back()->send("GET /warm HTTP/1.1\r\nHost: a\r\n\r\n");
      clients.back()->read_until("\r\n\r\n/warm");
    }
    hand_over_slowly(fixture);
    for (auto &client : clients) {
      client->send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    int most = 0;
    fixture.wait(
        [&, before = fixture.events.requests]() mutable {
          most = std::max(most, fixture.events.requests - before);
          before = fixture.events.requests;
          return before >= 2 * count;
        },
        "requests");
    CHECK(most <= static_cast<int>(2 * Turns::max_batch / Turns::events_of_request));
    for (auto &client : clients) {
      client->read_until("\r\n\r\n/slow");
      client->read_until("\r\n\r\n/slow");
    }
  });
}

}  // namespace
