// What one connection is sent and hears: pauses, queues, messages in fragments, and what is left out.
#include "fixture.h"

namespace {

using nws::ConnectionId;
using nws::OpCode;
using test::expect_close;
using test::fill;
using test::Fixture;
using test::for_plain_and_tls;
using test::fragment_length;
using test::Frame;
using test::limits;
using test::RawClient;

TEST("a paused connection is not heard, and after that in order, its Close frame included") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    auto &connection = fixture.only_connection();
    connection.owner()->pause(connection.socket);
    client->send_frame(1, "one");
    client->send_frame(9, "two");
    client->send(RawClient::frame(8, std::string("\x0f\xa1", 2)));  // 4001
    for (int turn = 0; turn < 50; turn++) {
      uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }
    CHECK(fixture.events.messages == 0 && fixture.events.pings.empty() && fixture.events.to_finish.empty());
    connection.owner()->resume(connection.socket);
    CHECK(client->read_frame().payload == "one");
    CHECK(client->read_frame().payload == "two");
    expect_close(*client, 4001);
    fixture.wait([&] { return fixture.events.closes.size() == 1; }, "the close");
    CHECK(fixture.events.closes[0].first == 4001);
  });
}

TEST("a connection that is paused while it ends, ends after resume; one that is closed ends the pause") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    auto &connection = fixture.only_connection();
    connection.owner()->fail(connection.socket, 1009);
    connection.owner()->pause(connection.socket);
    connection.owner()->finish(connection.socket);
    CHECK(fixture.events.closes.empty());
    connection.owner()->resume(connection.socket);
    expect_close(*client, 1009);

    auto other = fixture.connect_websocket();
    auto &closed = fixture.only_connection();
    closed.owner()->pause(closed.socket);
    closed.owner()->close(closed.socket, 4000, "");
    expect_close(*other, 4000);
    other->send(RawClient::frame(8, std::string("\x0f\xa0", 2)));
    fixture.wait([&] { return fixture.events.closes.size() == 2; }, "the close");
    CHECK(fixture.events.closes[1].first == 4000);
  });
}

TEST("a paused connection stays so while it is written to, has no idle timeout, and notices a reset when it cannot be") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    auto &connection = fixture.only_connection();
    auto *socket = static_cast<us_socket_t *>(connection.socket);
    connection.owner()->pause(connection.socket);
    client->send_frame(1, "unheard");
    std::string payload(100000, 'x');
    int count = fill(fixture, payload);
    for (int i = 0; i < count; i++) {
      CHECK(client->read_frame().payload == payload);
      CHECK(socket->timeout == 255);  // none
    }
    CHECK(fixture.events.messages == 0);
    fill(fixture, payload);
    client->reset();
    fixture.wait([&] { return fixture.events.closes.size() == 1; }, "the close");
    CHECK(fixture.events.closes[0].first == 1006);
  });
}

TEST("a reset is noticed during a pause: what was read is delivered, and what was not is thrown away") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    auto &connection = fixture.only_connection();
    connection.owner()->pause(connection.socket);
    client->send_frame(1, "unread");
    client->reset();
    fixture.wait([&] { return fixture.events.closes.size() == 1; }, "the close");
    CHECK(fixture.events.closes[0].first == 1006);
    CHECK(fixture.events.messages == 0);
  });
}

TEST("a short queue is reported once, to who asked for it") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    std::string payload(100000, 'x');
    int count = fill(fixture, payload);
    nws::SendQuota &quota = fixture.table.quota(fixture.events.opened.back());
    quota.low_threshold = quota.buffered;
    for (int i = 0; i < count; i++) {
      client->read_frame();
    }
    fixture.wait([&] { return quota.buffered == 0; }, "the queue to be empty");
    CHECK(fixture.events.lows == 1 && quota.low_threshold == 0);
    CHECK(fixture.events.drains == 0);
  });
}

TEST("messages wait behind one in fragments, and behind the next of that kind; control frames do not") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    ConnectionId id = fixture.events.opened.back();
    auto &connection = fixture.only_connection();
    nws::SendQuota &quota = fixture.table.quota(id);
    std::uint32_t limit = quota.limit;
    auto send = [&](std::string_view payload) { connection.owner()->send(connection.socket, payload, OpCode::text); };
    auto send_fragment = [&](std::string_view payload, bool is_first, bool is_last) {
      CHECK(connection.owner()->ready_for_fragment(connection.socket));
      connection.owner()->send_fragment(connection.socket, payload, {true, is_first, is_last, nws::Compress::never});
    };
    connection.owner()->subscribe(connection.socket, "news");
    fixture.server->topics().publish("news", "before", OpCode::text, 0);
    connection.owner()->begin_message(connection.socket);
    CHECK(quota.limit == limit - fragment_length);
    send("first");
    fixture.server->topics().publish("news", "second", OpCode::text, 0);
    connection.owner()->begin_message(connection.socket);
    send("third");
    connection.owner()->begin_message(connection.socket);
    send("fourth");
    fixture.server->topics().flush();
    CHECK(quota.buffered == 5 + 6 + 5 + 6);
    send_fragment("one ", true, false);
    connection.owner()->send(connection.socket, "ping", OpCode::ping);
    send_fragment("two", false, false);
    send_fragment("", false, true);
    CHECK(quota.buffered == 5 + 6);
    send_fragment("another", true, true);
    CHECK(quota.limit == limit - fragment_length);
    connection.owner()->withdraw_message(connection.socket);
    CHECK(quota.limit == limit && quota.buffered == 0);
    struct Expected {
      int op_code;
      bool fin;
      const char *payload;
    };
    for (auto [op_code, fin, payload] : {Expected{1, true, "before"},
                                         {2, false, "one "},
                                         {9, true, "ping"},
                                         {0, false, "two"},
                                         {0, true, ""},
                                         {1, true, "first"},
                                         {1, true, "second"},
                                         {2, true, "another"},
                                         {1, true, "third"},
                                         {1, true, "fourth"}}) {
      Frame frame = client->read_frame();
      CHECK(frame.op_code == op_code && frame.fin == fin && frame.payload == payload);
    }
  });
}

TEST("fragments wait for the client, and a connection may end in the middle of a message") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    auto &connection = fixture.only_connection();
    std::string payload(100000, 'x');
    int count = fill(fixture, payload);
    connection.owner()->begin_message(connection.socket);
    CHECK(!connection.owner()->ready_for_fragment(connection.socket));
    for (int i = 0; i < count; i++) {
      client->read_frame();
    }
    fixture.wait([&] { return fixture.events.fragment_drains == 1; }, "room for a fragment");
    connection.owner()->send_fragment(connection.socket, "half", {false, true, false, nws::Compress::never});
    connection.owner()->send(connection.socket, "never sent", OpCode::text);
    connection.owner()->begin_message(connection.socket);
    CHECK(client->read_frame().payload == "half");
    connection.owner()->close(connection.socket, 1011, "");
    connection.owner()->send_fragment(connection.socket, "late", {false, false, true, nws::Compress::never});
    connection.owner()->withdraw_message(connection.socket);
    connection.owner()->begin_message(connection.socket);
    expect_close(*client, 1011);
    client->close();
    fixture.wait([&] { return fixture.events.closes.size() == 1; }, "the close");
  });
}

TEST("a published message that a full queue has no room for is reported where that is asked for") {
  for (bool report : {false, true}) {
    nws::RouteOptions route = limits();
    route.max_backpressure = 1000;
    route.report_drops = report;
    Fixture fixture(Fixture::plain(route));
    fixture.listen();
    auto client = fixture.connect_websocket();
    auto other = fixture.connect_websocket();
    for (ConnectionId id : fixture.events.opened) {
      auto *entry = fixture.table.find(id);
      entry->owner()->subscribe(entry->socket, "news");
    }
    std::string large(1001, 'x'), larger(20000, 'y');
    // Where nothing waits, everything fits.
    for (const std::string &message : {large, larger}) {
      fixture.server->topics().publish("news", message, OpCode::text, 0);
      fixture.server->topics().flush();
      CHECK(client->read_frame().payload == message);
      CHECK(other->read_frame().payload == message);
    }
    // Behind a message in fragments, it waits; "fits" has room beside it.
    for (ConnectionId id : fixture.events.opened) {
      auto *entry = fixture.table.find(id);
      entry->owner()->begin_message(entry->socket);
    }
    fixture.server->topics().publish("news", "fits", OpCode::text, 0);
    fixture.server->topics().publish("news", large, OpCode::text, 0);
    fixture.server->topics().publish("news", larger, OpCode::binary, 0);
    fixture.server->topics().flush();
    CHECK(fixture.server->counters().publishes_dropped == 4);
    for (ConnectionId id : fixture.events.opened) {
      auto *entry = fixture.table.find(id);
      entry->owner()->withdraw_message(entry->socket);
    }
    CHECK(client->read_frame().payload == "fits");
    CHECK(other->read_frame().payload == "fits");
    auto &dropped = fixture.events.dropped;
    CHECK(dropped.size() == (report ? 4 : 0));
    for (const auto &[payload, publication] : dropped) {
      CHECK(payload == large || payload == larger);
      for (const auto &[other_payload, other_publication] : dropped) {
        CHECK((payload == other_payload) == (publication == other_publication));
      }
    }
  }
}

}  // namespace
