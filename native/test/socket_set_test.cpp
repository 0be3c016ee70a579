// The set tells once of input: what is behind a read must show all the same.
#include "fixture.h"

namespace {

using test::Fixture;
using test::for_each_kind_of_poll;
using test::RawClient;

TEST("a FIN or a reset that has come together with a message is noticed behind it") {
  for_each_kind_of_poll([](Fixture &fixture) {
    auto polite = fixture.connect_websocket();
    polite->send_frame(1, "last");
    polite->finish();
    fixture.wait([&] { return fixture.events.closes.size() == 1; }, "the end of the client that has sent FIN");
    CHECK(fixture.events.messages == 1);
    auto rude = fixture.connect_websocket();
    rude->send_frame(1, "last");
    rude->reset();
    fixture.wait([&] { return fixture.events.closes.size() == 2; }, "the end of the client that has reset");
  });
}

TEST("a client that sends just what is read at once, twice, is read twice, and its FIN is noticed") {
  constexpr std::size_t head = 8;
  std::string message = RawClient::frame(2, std::string(LIBUS_RECV_BUFFER_LENGTH - head, 'x'));
  CHECK(message.size() == LIBUS_RECV_BUFFER_LENGTH);
  for_each_kind_of_poll([&](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    client->send(message + message);
    client->finish();
    fixture.wait([&] { return fixture.events.messages == 2; }, "both messages");
    fixture.wait([&] { return fixture.events.closes.size() == 1; }, "the end");
  });
}

TEST("input that comes while a connection is paused is read when it goes on, though no more comes") {
  for_each_kind_of_poll([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    auto &connection = fixture.only_connection();
    for (int round = 1; round <= 3; round++) {
      connection.owner()->pause(connection.socket);
      client->send_frame(1, "meanwhile");
      for (int turn = 0; turn < 5; turn++) {
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
      }
      CHECK(fixture.events.messages == round - 1);
      connection.owner()->resume(connection.socket);
      fixture.wait([&] { return fixture.events.messages == round; }, "the message");
    }
  });
}

}  // namespace
