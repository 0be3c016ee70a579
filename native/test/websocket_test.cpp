// WebSocket connections of WebSocketServer, on a libuv loop of its own. Long because its tests follow what a
// connection can do, in the order of its life; requests (http_test.cpp) and the server as a whole
// (server_test.cpp) are split off.
#include "fixture.h"

namespace {

using nws::ConnectionId;
using nws::ExchangeId;
using nws::OpCode;
using test::expect_close;
using test::fill;
using test::Fixture;
using test::for_plain_and_tls;
using test::Frame;
using test::limits;
using test::RawClient;

TEST("a client shakes hands and gets its messages back with their own opcode") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    CHECK(fixture.events.remote_address == "127.0.0.1");
    for (std::size_t size : {0u, 1u, 125u, 126u, 65535u, 65536u, 1'000'000u}) {
      std::string payload(size, 'x');
      for (int op_code : {1, 2}) {
        client->send_frame(op_code, payload);
        Frame frame = client->read_frame();
        CHECK(frame.op_code == op_code && frame.fin && frame.payload == payload);
      }
    }
  });
}

TEST("a message is joined from its fragments, with a ping in between answered at once") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    client->send_frame(1, "one ", false);
    client->send_frame(9, "now");
    client->send_frame(0, "", false);
    client->send_frame(0, "two", true);
    Frame pong = client->read_frame();
    CHECK(pong.op_code == 10 && pong.payload == "now");
    Frame message = client->read_frame();
    CHECK(message.op_code == 1 && message.payload == "one two");
    CHECK(fixture.events.pings.size() == 1 && fixture.events.messages == 1);
  });
}

TEST("frames split at every byte arrive whole") {
  Fixture fixture;
  fixture.listen();
  auto client = fixture.connect_websocket();
  std::string bytes = RawClient::frame(1, std::string(300, 'y')) + RawClient::frame(9, "p") + RawClient::frame(2, "");
  for (char byte : bytes) {
    client->send({&byte, 1});
    uv_run(&fixture.loop, UV_RUN_NOWAIT);
  }
  CHECK(client->read_frame().payload == std::string(300, 'y'));
  CHECK(client->read_frame().op_code == 10);
  CHECK(client->read_frame().op_code == 2);
}

TEST("a close by the client is answered with its code and reported") {
  for_plain_and_tls([](Fixture &fixture) {
    for (int code : {1000, 1012, 3000, 4999}) {
      auto client = fixture.connect_websocket();
      std::string payload{static_cast<char>(code >> 8), static_cast<char>(code)};
      client->send_frame(8, payload + "bye");
      expect_close(*client, code);
      client->wait_for_end();
      CHECK(fixture.events.closes.back() == std::make_pair(code, std::string("bye")));
    }
    auto client = fixture.connect_websocket();
    client->send_frame(8, "");
    expect_close(*client, 1005);
    CHECK(fixture.events.closes.back().first == 1005);
  });
}

TEST("a close by the server waits for the client's answer and reports its code") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    auto &connection = fixture.only_connection();
    connection.owner()->close(connection.socket, 4001, "enough");
    connection.owner()->close(connection.socket, 4002, "a second time does nothing");
    connection.owner()->send(connection.socket, "nothing follows a Close frame", OpCode::text);
    expect_close(*client, 4001);
    CHECK(fixture.events.closes.empty());
    client->send_frame(1, "crossed on the wire");
    client->send_frame(8, "\x0f\xa1ok");
    client->wait_for_end();
    CHECK(fixture.events.closes.back() == std::make_pair(4001, std::string("ok")));
    CHECK(fixture.events.messages == 0);
  });
}

TEST("protocol errors end with a Close frame that says which") {
  struct Case {
    std::string bytes;
    int code;
  };
  const std::vector<Case> cases = {
      {RawClient::frame(1, "unmasked", true, false), 1002},
      {RawClient::frame(1, "reserved bit", true, true, 1), 1002},
      {RawClient::frame(1, "compressed, not negotiated", true, true, 4), 1002},
      {RawClient::frame(3, "reserved opcode"), 1002},
      {RawClient::frame(11, "reserved control"), 1002},
      {RawClient::frame(9, "fragmented ping", false), 1002},
      {RawClient::frame(9, std::string(126, 'x')), 1002},
      {RawClient::frame(0, "continues nothing"), 1002},
      {RawClient::frame(1, "a", false) + RawClient::frame(1, "b"), 1002},
      {RawClient::frame(1, "a", false) + RawClient::frame(2, "b"), 1002},
      {RawClient::frame(2, "a", false) + RawClient::frame(2, "b", false), 1002},
      {RawClient::frame(8, "x"), 1002},
      {RawClient::frame(8,
                        "\x03\xed"
                        "1005 is not sent"),
       1002},
      {RawClient::frame(8,
                        "\x07\xcf"
                        "1999 is not defined"),
       1002},
      {RawClient::frame(8, "\x03\xe8\xff"), 1007},
      {RawClient::frame(1, "\xc0\xaf"), 1007},
      {RawClient::frame(1, "\xe2\x82", false) + RawClient::frame(0, "x"), 1007},
      {RawClient::frame(2, std::string(1001, 'x')), 1009},
      {RawClient::frame(2, std::string(600, 'x'), false) + RawClient::frame(0, std::string(600, 'x')), 1009},
  };
  for (bool tls : {false, true}) {
    nws::RouteOptions route = limits(1000);
    Fixture fixture(tls ? Fixture::tls(route) : Fixture::plain(route));
    fixture.listen();
    auto bystander = fixture.connect_websocket();
    for (const Case &wrong : cases) {
      auto client = fixture.connect_websocket();
      client->send(wrong.bytes);
      expect_close(*client, wrong.code);
      client->wait_for_end();
      CHECK(fixture.events.closes.back().first == wrong.code);
    }
    CHECK(fixture.events.closes.size() == cases.size());
    bystander->send_frame(1, "undisturbed");
    CHECK(bystander->read_frame().payload == "undisturbed");
  }
}

TEST("messages before a Close frame or an error can be answered, those after it are not delivered") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    client->send(RawClient::frame(1, "one") + RawClient::frame(8, "\x03\xe8") + RawClient::frame(1, "late"));
    CHECK(client->read_frame().payload == "one");
    expect_close(*client, 1000);
    auto wrong = fixture.connect_websocket();
    wrong->send(RawClient::frame(1, "two") + RawClient::frame(3, "reserved") + RawClient::frame(1, "late"));
    CHECK(wrong->read_frame().payload == "two");
    expect_close(*wrong, 1002);
    wrong->wait_for_end();
    CHECK(fixture.events.messages == 2 && fixture.events.closes.size() == 2);
  });
}

/// µSockets' word for "none" (socket.c, us_socket_timeout).
constexpr int no_timeout = 255;

int timeout_of(Fixture &fixture) { return static_cast<us_socket_t *>(fixture.only_connection().socket)->timeout; }

TEST("an idle timeout of 0 is none, whether or not there are pings") {
  for (bool pings : {false, true}) {
    Fixture fixture(Fixture::plain(limits(1000, 0, pings)));
    fixture.listen();
    auto client = fixture.connect_websocket();
    CHECK(timeout_of(fixture) == no_timeout);
    client->send_frame(1, "still none after a message");
    client->read_frame();
    CHECK(timeout_of(fixture) == no_timeout);
  }
}

TEST("a connection that is closing keeps its deadline while the queue drains and while data comes in") {
  Fixture fixture(Fixture::plain(limits(1000, 0, false)));
  fixture.listen();
  auto client = fixture.connect_websocket();
  int sent = fill(fixture, std::string(1 << 20, 'z'));
  auto &connection = fixture.only_connection();
  connection.owner()->close(connection.socket, 1000, "");
  CHECK(timeout_of(fixture) != no_timeout);
  for (int i = 0; i < sent; i++) {
    client->read_frame();
    CHECK(timeout_of(fixture) != no_timeout);
  }
  expect_close(*client, 1000);
  client->send_frame(1, "talks, but does not close");
  for (int i = 0; i < 10; i++) {
    uv_run(&fixture.loop, UV_RUN_NOWAIT);
  }
  CHECK(timeout_of(fixture) != no_timeout);
}

TEST("a limit of a few bytes does not concern control frames") {
  Fixture fixture(Fixture::plain(limits(5)));
  fixture.listen();
  auto client = fixture.connect_websocket();
  client->send_frame(9, std::string(125, 'p'));
  CHECK(client->read_frame().payload.size() == 125);
  client->send_frame(1, "12345");
  CHECK(client->read_frame().payload == "12345");
  client->send_frame(1, "123456");
  expect_close(*client, 1009);
}

TEST("several routes give their connections their own limits") {
  nws::ServerOptions options = Fixture::plain();
  options.routes = {limits(10), limits(20), limits(30)};
  Fixture fixture(options);
  fixture.listen();
  fixture.hold_requests = true;
  for (std::size_t route : {2u, 0u, 1u}) {
    auto client = fixture.connect();
    client->send(
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n");
    fixture.wait([&] { return fixture.events.waiting.size() == 1; }, "the request");
    ExchangeId exchange = std::exchange(fixture.events.waiting, {})[0].exchange;
    CHECK(fixture.server->http().accept(exchange, 7, "", {}) == 0);
    CHECK(fixture.server->http().accept(exchange, route, "", {}) != 0);
    client->read_until("\r\n\r\n");
    client->send_frame(2, std::string(10 * (route + 1), 'x'));
    CHECK(client->read_frame().op_code == 2);
    client->send_frame(2, std::string(10 * (route + 1) + 1, 'x'));
    expect_close(*client, 1009);
  }
}

TEST("a client that vanishes, in the middle of a frame or between two, is reported as 1006") {
  for_plain_and_tls([](Fixture &fixture) {
    auto polite = fixture.connect_websocket();
    polite->finish();
    fixture.wait([&] { return fixture.events.closes.size() == 1; }, "the close");
    auto rude = fixture.connect_websocket();
    rude->send(RawClient::frame(1, "never completed").substr(0, 9));
    rude->reset();
    fixture.wait([&] { return fixture.events.closes.size() == 2; }, "the close");
    CHECK(fixture.events.closes[0].first == 1006 && fixture.events.closes[1].first == 1006);
  });
}

TEST("a connection that was cut finds nothing by its id, and reports 1006") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    ConnectionId id = fixture.events.opened.back();
    auto &connection = fixture.only_connection();
    connection.owner()->terminate(connection.socket);
    CHECK(!fixture.table.find(id));
    client->wait_for_end();
    CHECK(fixture.events.closes.size() == 1 && fixture.events.closes[0].first == 1006);
  });
}

TEST("a megabyte of pipelined messages and pings arrives whole, in order") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    std::string bytes;
    int count = 0;
    for (; bytes.size() < (4u << 20); count++) {
      bytes += RawClient::frame(1, std::to_string(count) + std::string(100, '.'));
      if (count % 100 == 0) {
        bytes += RawClient::frame(9, std::to_string(count));
      }
    }
    client->send(bytes);
    int next = 0;
    int pongs = 0;
    while (next < count) {
      Frame frame = client->read_frame();
      if (frame.op_code == 10) {
        pongs++;
      } else {
        CHECK(frame.payload == std::to_string(next) + std::string(100, '.'));
        next++;
      }
    }
    CHECK(pongs == (count + 99) / 100);
  });
}

TEST("an id never names a later connection") {
  Fixture fixture;
  fixture.listen();
  auto first = fixture.connect_websocket();
  ConnectionId stale = fixture.events.opened.back();
  first->close();
  fixture.wait([&] { return fixture.events.closes.size() == 1 && fixture.events.to_release.empty(); }, "the release");
  auto second = fixture.connect_websocket();
  ConnectionId fresh = fixture.events.opened.back();
  CHECK((stale & nws::ConnectionTable::slot_mask) == (fresh & nws::ConnectionTable::slot_mask));
  CHECK(stale != fresh && !fixture.table.find(stale) && fixture.table.find(fresh));
}

TEST("a client that does not read at first gets everything later, and the drain is reported to who was told to wait") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    std::string payload(1 << 20, 'z');
    int sent = fill(fixture, payload);
    fixture.table.quota(fixture.events.opened.back()).drain_owed = nws::SendQuota::drain_when_empty;
    for (int i = 0; i < sent; i++) {
      CHECK(client->read_frame().payload == payload);
    }
    fixture.wait([&] { return fixture.events.drains == 1; }, "the drain");
    CHECK(fixture.table.quota(fixture.events.opened.back()).buffered == 0);
  });
}

TEST("a Close frame waits behind what is queued") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    std::string payload(1 << 20, 'z');
    int sent = fill(fixture, payload);
    auto &connection = fixture.only_connection();
    connection.owner()->close(connection.socket, 1000, "");
    for (int i = 0; i < sent; i++) {
      CHECK(client->read_frame().payload == payload);
    }
    expect_close(*client, 1000);
  });
}

TEST("a client that closes before it has read its messages gets them all, and the end is reported when it has") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    std::string payload(1 << 20, 'z');
    int sent = fill(fixture, payload);
    auto &connection = fixture.only_connection();
    for (int more = 0; more < 16; more++, sent++) {  // more than the kernel can still take
      connection.owner()->send(connection.socket, payload, OpCode::binary);
    }
    client->send_frame(8, "\x0b\xb8");
    for (int i = 0; i < 10; i++) {
      uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }
    CHECK(fixture.events.closes.empty());
    for (int i = 0; i < sent; i++) {
      CHECK(client->read_frame().payload == payload);
    }
    expect_close(*client, 3000);
    client->wait_for_end();
    CHECK(fixture.events.closes.size() == 1 && fixture.events.closes[0].first == 3000);
  });
}

TEST("what was published arrives once, in order with what was sent, and not at the sender") {
  for_plain_and_tls([](Fixture &fixture) {
    auto sender = fixture.connect_websocket();
    ConnectionId sender_id = fixture.events.opened.back();
    auto receiver = fixture.connect_websocket();
    ConnectionId receiver_id = fixture.events.opened.back();
    for (ConnectionId id : {sender_id, receiver_id}) {
      auto *entry = fixture.table.find(id);
      CHECK(entry->owner()->subscribe(entry->socket, "news"));
      CHECK(!entry->owner()->subscribe(entry->socket, "news"));
    }
    auto *to = fixture.table.find(receiver_id);
    CHECK(fixture.server->topics().subscribers("news") == 2);
    CHECK(fixture.server->topics().publish("news", "1", OpCode::text, sender_id));
    CHECK(fixture.server->topics().publish("news", "2", OpCode::text, sender_id));
    to->owner()->send(to->socket, "3", OpCode::text);
    CHECK(fixture.server->topics().publish("news", std::string(20'000, '4'), OpCode::binary, sender_id));
    CHECK(fixture.server->topics().publish("news", "5", OpCode::text, 0));
    CHECK(!fixture.server->topics().publish("nobody listens", "6", OpCode::text, 0));
    for (const std::string &expected :
         {std::string("1"), std::string("2"), std::string("3"), std::string(20'000, '4'), std::string("5")}) {
      CHECK(receiver->read_frame().payload == expected);
    }
    CHECK(sender->read_frame().payload == "5");
    const nws::Counters &counters = fixture.server->counters();
    CHECK(counters.messages_sent == 6 && counters.bytes_sent == 20'005 && counters.publishes_dropped == 0);
    // More than the limit: taken for both while nothing waits, and then, as more than the kernel takes waits,
    // for neither.
    std::string longer((16 << 20) + 1, 'x');
    CHECK(fixture.server->topics().publish("news", longer, OpCode::binary, 0));
    CHECK(counters.messages_sent == 8 && counters.publishes_dropped == 0);
    CHECK(fixture.server->topics().publish("news", longer, OpCode::binary, 0));
    CHECK(counters.messages_sent == 8 && counters.publishes_dropped == 2);
    receiver->close();
    fixture.wait([&] { return fixture.server->topics().subscribers("news") == 1; }, "the subscription's end");
    auto *from = fixture.table.find(sender_id);
    CHECK(from->owner()->topics(from->socket).size() == 1);
    CHECK(from->owner()->is_subscribed(from->socket, "news") && !from->owner()->is_subscribed(from->socket, "new"));
    CHECK(from->owner()->unsubscribe(from->socket, "news") && !from->owner()->unsubscribe(from->socket, "news"));
    CHECK(fixture.server->topics().subscribers("news") == 0);
  });
}

}  // namespace
