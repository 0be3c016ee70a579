// Requests and responses of WebSocketServer, on a libuv loop of its own.
#include "fixture.h"

namespace {

using nws::ExchangeId;
using test::Fixture;
using test::for_plain_and_tls;
using test::RawClient;

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

}  // namespace
