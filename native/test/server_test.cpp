// WebSocketServer on a libuv loop of its own, with no Node in sight. Long because it goes through all that a
// connection can do, in the order of its life.
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "fixture.h"

namespace {

using nws::ConnectionId;
using nws::ExchangeId;
using nws::OpCode;
using test::EchoEvents;
using test::expect_close;
using test::fill;
using test::Fixture;
using test::for_plain_and_tls;
using test::Frame;
using test::key_pair;
using test::KeyPair;
using test::limits;
using test::make_key_pair;
using test::RawClient;
using test::wait_until;

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
    fixture.table.account(fixture.events.opened.back()).answers = nws::Account::answered_backpressure;
    for (int i = 0; i < sent; i++) {
      CHECK(client->read_frame().payload == payload);
    }
    fixture.wait([&] { return fixture.events.drains == 1; }, "the drain");
    CHECK(fixture.table.account(fixture.events.opened.back()).buffered == 0);
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

TEST("a request is answered once, and its end by the client is reported") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect();
    client->send("GET /where?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(client->read_until("/where?x=1").substr(0, 15) == "HTTP/1.1 200 OK");
    fixture.hold_requests = true;
    client->send("GET /again HTTP/1.1\r\nHost: localhost\r\n\r\n");
    fixture.wait([&] { return fixture.events.waiting.size() == 1; }, "the request");
    ExchangeId exchange = fixture.events.waiting[0].exchange;
    CHECK(fixture.server->http().accept(exchange, 0, "", {}) == 0);  // no upgrade was asked for
    client->close();
    fixture.wait([&] { return fixture.events.aborted.size() == 1; }, "the abort");
    CHECK(fixture.events.aborted[0] == exchange);
    CHECK(!fixture.server->http().respond(exchange, {.status = "200 OK", .headers = {}, .content_length = 0, .body = ""}));
  });
}

TEST("requests sent without waiting are answered in order, however they are cut into segments") {
  for_plain_and_tls([](Fixture &fixture) {
    std::string bytes;
    for (int i = 0; i < 5; i++) {
      bytes += "GET /get" + std::to_string(i) + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
      bytes +=
          "POST /post" + std::to_string(i) + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30\r\n\r\n" + std::string(30, 'b');
    }
    for (std::size_t step : {bytes.size(), std::size_t{1}, std::size_t{7}, std::size_t{100}}) {
      auto client = fixture.connect();
      for (std::size_t at = 0; at < bytes.size(); at += step) {
        client->send(std::string_view(bytes).substr(at, step));
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
      }
      for (int i = 0; i < 5; i++) {
        client->read_until("\r\n\r\n/get" + std::to_string(i));
        client->read_until("\r\n\r\n/post" + std::to_string(i));
      }
    }
  });
}

TEST("frames that come with the upgrade request are not lost") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect();
    client->send(
        "GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n"
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n" +
        RawClient::frame(1, "early"));
    client->read_until("/first");
    client->read_until("\r\n\r\n");
    CHECK(client->read_frame().payload == "early");
  });
}

TEST("a client that sends requests faster than they are answered is stopped, and gets every answer") {
  for (bool tls : {false, true}) {
    Fixture fixture(tls ? Fixture::tls() : Fixture::plain());
    fixture.listen();
    fixture.hold_requests = true;
    auto client = fixture.connect();
    std::string requests;
    for (int n = 0; n < 100; n++) {
      requests += "GET /" + std::to_string(n) + " HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(10'000, 'x') + "\r\n\r\n";
    }
    client->send(requests);
    fixture.wait([&] { return fixture.events.waiting.size() == 1; }, "the first request");
    for (int n = 0; n < 20; n++) {
      uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }
    fixture.hold_requests = false;
    for (int n = 0; n < 100; n++) {
      client->read_until("\r\n\r\n/" + std::to_string(n));
    }
    CHECK(fixture.events.aborted.empty());
  }
}

TEST("a client that has left is noticed behind more requests than are kept") {
  for (bool resets : {false, true}) {
    for_plain_and_tls([resets](Fixture &fixture) {
      fixture.hold_requests = true;
      for (const char *upgrade : {"", "Upgrade: websocket\r\nConnection: Upgrade\r\n"}) {
        auto client = fixture.connect();
        std::size_t before = fixture.events.aborted.size();
        client->send("GET /a HTTP/1.1\r\nHost: localhost\r\n" + std::string(upgrade) + "\r\n" + std::string(150'000, 'x'));
        fixture.wait([&] { return fixture.events.waiting.size() == before + 1; }, "the request");
        for (int n = 0; n < 20; n++) {
          uv_run(&fixture.loop, UV_RUN_NOWAIT);
        }
        CHECK(fixture.events.aborted.size() == before);
        if (resets) {
          client->reset();
        } else {
          client->close();
        }
        fixture.wait([&] { return fixture.events.aborted.size() == before + 1; }, "the abort");
        CHECK(fixture.events.aborted.back() == fixture.events.waiting.back().exchange);
      }
    });
  }
}

TEST("a reset is noticed while a body is not read") {
  for_plain_and_tls([](Fixture &fixture) {
    fixture.hold_requests = true;
    auto client = fixture.connect();
    client->send("POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc");
    fixture.wait([&] { return fixture.events.body == "abc"; }, "the first bytes");
    fixture.server->http().pause_body(fixture.events.waiting[0].exchange);
    client->send(std::string(300'000, 'x'));
    client->reset();
    fixture.wait([&] { return fixture.events.aborted.size() == 1; }, "the abort");
    CHECK(fixture.events.body == "abc");
  });
}

TEST("the last answers of a connection arrive, whatever its client sends behind the last request") {
  const std::string head = "GET /last HTTP/1.1\r\nHost: localhost\r\n";
  const std::pair<std::string, const char *> last[] = {
      {head + "Content-Length: x\r\n\r\n", "HTTP/1.1 400 "},
      {head + "Cookie: " + std::string(20'000, 'c') + "\r\n\r\n", "HTTP/1.1 431 "},
      {"GET /last HTTP/3.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 505 "},
      {"\x16\x03\x01", "HTTP/1.1 400 "},
      {head + "Connection: close\r\n\r\n", "\r\n\r\n/last"},
  };
  for_plain_and_tls([&last](Fixture &fixture) {
    for (const auto &[request, answer] : last) {
      auto client = fixture.connect();
      client->send("GET /a HTTP/1.1\r\nHost: localhost\r\n\r\nGET /b HTTP/1.1\r\nHost: localhost\r\n\r\n" + request +
                   std::string(1'000'000, 'x'));
      for (int n = 0; n < 20; n++) {
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
      }
      client->read_until("\r\n\r\n/a");
      client->read_until("\r\n\r\n/b");
      client->read_until(answer);
      client->wait_for_end();
    }
  });
}

TEST("a connection with a last answer that its client reads late ends behind it") {
  for_plain_and_tls([](Fixture &fixture) {
    fixture.hold_requests = true;
    auto client = fixture.connect();
    client->send("GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    fixture.wait([&] { return !fixture.events.waiting.empty(); }, "the request");
    const std::string body = std::string(8 << 20, 'x') + "end";
    fixture.server->http().respond(fixture.events.waiting[0].exchange,
                                   {.status = "200 OK", .headers = {}, .content_length = body.size(), .body = body});
    CHECK(!fixture.server->http().is_flushed());
    client->send(std::string(300'000, 'x'));
    client->read_until("xend");
    client->wait_for_end();
  });
}

TEST("a body is delivered, stopped and resumed, and what is behind it waits") {
  for (bool tls : {false, true}) {
    Fixture fixture(tls ? Fixture::tls() : Fixture::plain());
    fixture.listen();
    fixture.hold_requests = true;
    auto client = fixture.connect();
    client->send("POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    fixture.wait([&] { return fixture.events.body == "abc"; }, "the first chunk");
    ExchangeId exchange = fixture.events.waiting[0].exchange;
    fixture.server->http().pause_body(exchange);
    client->send("3\r\ndef\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for (int n = 0; n < 20; n++) {
      uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }
    CHECK(fixture.events.body == "abc");
    fixture.server->http().resume_body(exchange);
    fixture.wait([&] { return fixture.events.body == "abcdef|"; }, "the rest of the body");
    CHECK(fixture.events.waiting.size() == 1);
    fixture.hold_requests = false;
    client->read_until("\r\n\r\n/a");
    client->read_until("\r\n\r\n/b");
    CHECK(!fixture.server->http().respond(exchange, {.status = "200 OK", .headers = {}, .content_length = 0, .body = ""}));
    fixture.server->http().resume_body(exchange);
    fixture.server->http().abort(exchange);
  }
}

TEST("an answer in chunks waits for its client, and its end may end the connection") {
  for (bool tls : {false, true}) {
    Fixture fixture(tls ? Fixture::tls() : Fixture::plain());
    fixture.listen();
    fixture.hold_requests = true;
    auto client = fixture.connect();
    client->send("GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    fixture.wait([&] { return !fixture.events.waiting.empty(); }, "the request");
    ExchangeId exchange = fixture.events.waiting[0].exchange;
    CHECK(fixture.server->http().begin_response(exchange, {.status = "200 OK", .headers = {}, .content_length = {}, .body = {}}));
    CHECK(
        !fixture.server->http().begin_response(exchange, {.status = "200 OK", .headers = {}, .content_length = {}, .body = {}}));
    client->read_until("Transfer-Encoding: chunked\r\n\r\n");
    std::string chunk(1'000'000, 'x');
    int chunks = 1;
    for (; fixture.server->http().write(exchange, chunk); chunks++) {
    }
    CHECK(!fixture.server->http().is_flushed());
    for (int n = 0; n < chunks; n++) {
      client->read_until("f4240\r\n");
      client->read_until("x\r\n");
    }
    fixture.wait([&] { return fixture.events.writables == 1; }, "room to write");
    fixture.server->http().end_response(exchange, true);
    client->read_until("0\r\n\r\n");
    client->wait_for_end();
    CHECK(fixture.events.aborted.empty());
  }
}

TEST("an answer in pieces with a length is sent without chunks, and a Date of its own in place of the server's") {
  for (bool tls : {false, true}) {
    Fixture fixture(tls ? Fixture::tls() : Fixture::plain());
    fixture.listen();
    fixture.hold_requests = true;
    auto client = fixture.connect();
    client->send("GET /a HTTP/1.1\r\nHost: localhost\r\n\r\nGET /b HTTP/1.1\r\nHost: localhost\r\n\r\n");
    fixture.wait([&] { return fixture.events.waiting.size() == 1; }, "the first request");
    ExchangeId first = fixture.events.waiting[0].exchange;
    nws::Header date("DATE", "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK(fixture.server->http().begin_response(first,
                                                {.status = "200 OK", .headers = {&date, 1}, .content_length = 6, .body = {}}));
    CHECK(client->read_until("\r\n\r\n") ==
          "HTTP/1.1 200 OK\r\nDATE: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 6\r\n\r\n");
    fixture.server->http().write(first, "one");
    fixture.server->http().write(first, "two");
    fixture.server->http().end_response(first, false);
    CHECK(client->read_until("two") == "onetwo");
    fixture.wait([&] { return fixture.events.waiting.size() == 2; }, "the second request");
    fixture.server->http().respond(
        fixture.events.waiting[1].exchange,
        {.status = "200 OK", .headers = {&date, 1}, .content_length = 3, .body = "end", .closes = true});
    CHECK(client->read_until("end").find("Date: ") == std::string::npos);
    client->wait_for_end();
    CHECK(fixture.events.aborted.empty());
  }
}

TEST("a client that is refused in the middle of its body can read the answer") {
  Fixture fixture;
  fixture.listen();
  fixture.hold_requests = true;
  auto client = fixture.connect();
  client->send("POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc");
  fixture.wait([&] { return fixture.events.body == "abc"; }, "the body");
  fixture.server->http().respond(fixture.events.waiting[0].exchange,
                                 {.status = "413 Too Much", .headers = {}, .content_length = 2, .body = "no", .closes = true});
  client->send(std::string(999'997, 'x') + "GET /b HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(client->read_until("\r\n\r\nno").find("Connection: close") != std::string::npos);
  client->finish();
  client->wait_for_end();
  CHECK(fixture.events.body == "abc" && fixture.events.waiting.size() == 1 && fixture.events.aborted.empty());
}

TEST("request headers of up to 16 KiB are accepted") {
  Fixture fixture;
  fixture.listen();
  auto client = fixture.connect();
  client->send("GET /large HTTP/1.1\r\nHost: localhost\r\nCookie: " + std::string(15'000, 'c') + "\r\n\r\n");
  CHECK(client->read_until("/large").substr(0, 15) == "HTTP/1.1 200 OK");
  auto refused = fixture.connect();
  refused->send("GET /larger HTTP/1.1\r\nHost: localhost\r\nCookie: " + std::string(20'000, 'c') + "\r\n\r\n");
  CHECK(refused->read_until("\r\n").substr(0, 12) == "HTTP/1.1 431");
}

TEST("a taken port is reported as such, and the server may be destroyed") {
  Fixture first;
  first.listen();
  nws::ServerOptions options = Fixture::plain();
  options.address.port = static_cast<std::uint16_t>(first.port);
  auto second = nws::WebSocketServer::create(*first.event_loop, first.table, options, first.events);
  CHECK(second->listen().error == EADDRINUSE);
}

TEST("addresses that cannot be listened on are reported with their errno") {
  for (auto [host, error] : {std::pair{"192.0.2.1", EADDRNOTAVAIL}, std::pair{"no address", EINVAL}}) {
    nws::ServerOptions options = Fixture::plain();
    options.address.host = host;
    Fixture fixture(options);
    CHECK(fixture.server->listen().error == error);
  }
}

TEST("bad TLS material is told apart") {
  using What = nws::TlsFailure::What;
  auto refused = [](const nws::TlsOptions &tls) {
    nws::ServerOptions options = Fixture::plain();
    options.tls = {tls};
    Fixture fixture(options);
    auto failure = fixture.server->tls_failure();
    CHECK(failure);
    CHECK(!fixture.server->listen());
    return *failure;
  };
  nws::TlsOptions good = Fixture::tls().tls[0];
  nws::TlsOptions options = good;
  options.key = "not PEM";
  CHECK(refused(options).what == What::key);
  options = good;
  options.certificate = "not PEM";
  CHECK(refused(options).what == What::certificate);
  options = good;
  options.key = make_key_pair().key;
  CHECK(refused(options).what == What::mismatch);
  const std::string unreadable = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  options = good;
  options.certificate += good.certificate + unreadable;
  CHECK(refused(options).what == What::certificate);
  CHECK(refused(options).block == 2);
  options = good;
  options.authorities = good.certificate + unreadable;
  CHECK(refused(options).what == What::authority);
  CHECK(refused(options).block == 1);
  options = good;
  options.ciphers = "no such cipher";
  CHECK(refused(options).what == What::context);
  KeyPair encrypted = make_key_pair("secret");
  options = good;
  options.key = encrypted.key;
  options.certificate = encrypted.certificate;
  options.passphrase = "wrong";
  CHECK(refused(options).what == What::passphrase);
  options.passphrase = "secret";
  nws::ServerOptions accepted = Fixture::plain();
  accepted.tls = {options};
  CHECK(!Fixture(accepted).server->tls_failure());
}

TEST("a server is destroyed with connections in every state") {
  for (bool tls : {false, true}) {
    std::vector<std::unique_ptr<RawClient>> clients;
    Fixture fixture(tls ? Fixture::tls() : Fixture::plain());
    fixture.listen();
    for (int i = 0; i < 20; i++) {
      clients.push_back(fixture.connect_websocket());
    }
    clients[0]->send(RawClient::frame(1, "half of a frame").substr(0, 8));
    auto *closing = fixture.table.find(fixture.events.opened[1]);
    closing->owner()->close(closing->socket, 1001, "");
    auto *subscribed = fixture.table.find(fixture.events.opened[2]);
    subscribed->owner()->subscribe(subscribed->socket, "topic");
    fixture.server->topics().publish("topic", "never flushed", OpCode::text, 0);
    // Raw TCP connections, which on a TLS server are stuck in the handshake: more than may shake hands in one
    // iteration.
    for (int i = 0; i < 20; i++) {
      clients.push_back(std::make_unique<RawClient>(&fixture.loop, fixture.port, false));
      clients.back()->send("\x16\x03\x01");
    }
    fixture.hold_requests = true;
    uv_run(&fixture.loop, UV_RUN_NOWAIT);
    fixture.server.reset();
    CHECK(fixture.events.closes.size() == 20);
    for (auto &client : clients) {
      client->wait_for_end();
    }
    fixture.server = nws::WebSocketServer::create(*fixture.event_loop, fixture.table, Fixture::plain(), fixture.events);
  }
}

TEST("without descriptors the server waits, says so once, serves who is connected, and accepts again") {
  Fixture fixture;
  fixture.listen();
  auto connected = fixture.connect_websocket();
  // The client's end of the next connection takes the last descriptor, so that there is none for the server's
  // end.
  int last = dup(0);
  ::close(last);
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit short_of_one = before;
  short_of_one.rlim_cur = static_cast<rlim_t>(last) + 1;
  setrlimit(RLIMIT_NOFILE, &short_of_one);
  auto waiting = fixture.connect();
  fixture.wait([&] { return fixture.events.exhausted > 0; }, "the shortage");
  connected->send_frame(1, "still here");
  CHECK(connected->read_frame().payload == "still here");
  setrlimit(RLIMIT_NOFILE, &before);
  CHECK(waiting->open() == "HTTP/1.1 101 Switching Protocols");
  CHECK(fixture.events.exhausted == 1);
}

}  // namespace
