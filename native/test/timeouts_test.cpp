// When timeouts strike. Time passes in ticks here: a test calls µSockets' sweep itself.
#include "server/uws/timeouts.h"

#include <algorithm>

#include "fixture.h"

namespace {

using nws::Timeouts;
using test::Fixture;
using test::limits;

TEST("a timeout strikes at no tick before its time, and at the first one after it") {
  for (std::int64_t milliseconds = 1; milliseconds <= Timeouts::longest; milliseconds += 997) {
    for (std::int64_t until_next = -10; until_next <= Timeouts::tick; until_next += 99) {
      unsigned ticks = Timeouts::ticks(milliseconds, until_next);
      std::int64_t first = std::max<std::int64_t>(until_next, 0);
      std::int64_t strikes = first + (ticks - 1) * Timeouts::tick;
      CHECK(ticks >= 1 && strikes >= milliseconds);
      CHECK(ticks == 1 || strikes - Timeouts::tick < milliseconds);
    }
  }
  CHECK(Timeouts::ticks(Timeouts::longest, 0) == 240);
}

us_socket_t *only_socket(Fixture &fixture) { return static_cast<us_socket_t *>(fixture.only_connection().socket); }

/// Lets ticks pass until the only connection's timeout strikes, and counts them.
int ticks_until_strike(Fixture &fixture) {
  us_loop_t *loop = only_socket(fixture)->context->loop;
  int armed = only_socket(fixture)->timeout;
  int ticks = 0;
  do {
    us_internal_timer_sweep(loop);
    ticks++;
  } while (ticks < 300 && fixture.events.closes.empty() && only_socket(fixture)->timeout == armed);
  return ticks;
}

TEST(
    "an idle timeout is two parts, with a Ping between them or not, which are never shorter together, and less than a tick "
    "longer") {
  for (bool pings : {false, true}) {
    for (std::uint16_t seconds : {8, 9, 11, 12, 15, 16, 31, 32, 63, 64, 120, 943, 957, 959, 960}) {
      Fixture fixture(Fixture::plain(limits(1000, seconds, pings)));
      fixture.listen();
      auto client = fixture.connect_websocket();
      client->send_frame(1, "the last");
      client->read_frame();
      int first = ticks_until_strike(fixture);
      CHECK(fixture.events.closes.empty());
      if (pings) {
        CHECK(client->read_frame().op_code == 9);
      }
      int second = ticks_until_strike(fixture);
      CHECK(fixture.events.closes.size() == 1);
      // The first tick may have come at any time; the others come every 4 seconds.
      int fewest = (seconds + 3) / 4, ticks = first + second;
      CHECK(ticks == fewest || ticks == fewest + 1);
      CHECK(second == 1 || second == 2 || second == 4);
    }
  }
}

TEST("a client that is read again after a pause has all of its idle timeout, and gets another Ping") {
  Fixture fixture(Fixture::plain(limits(1000, 8, true)));
  fixture.listen();
  auto client = fixture.connect_websocket();
  for (int i = 0; i < 2; i++) {
    ticks_until_strike(fixture);
    CHECK(client->read_frame().op_code == 9);
    auto &connection = fixture.only_connection();
    connection.owner()->pause(connection.socket);
    connection.owner()->resume(connection.socket);
  }
  ticks_until_strike(fixture);
  CHECK(fixture.events.closes.empty());
  ticks_until_strike(fixture);
  CHECK(fixture.events.closes.size() == 1);
}

}  // namespace
