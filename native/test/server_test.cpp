// WebSocketServer from listening to its destruction, on a libuv loop of its own, with no Node in sight.
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>

#include "fixture.h"

namespace {

using nws::OpCode;
using test::Fixture;
using test::KeyPair;
using test::make_key_pair;
using test::RawClient;
using test::WithoutDescriptors;

TEST("a taken port is reported as such, and the server may be destroyed") {
  Fixture first;
  first.listen();
  auto second = nws::WebSocketServer::create(*first.event_loop, first.table, Fixture::plain(), first.events);
  nws::ListenAddress taken = Fixture::any_port();
  taken.port = static_cast<std::uint16_t>(first.port);
  CHECK(second->listen(taken).error == EADDRINUSE);
}

TEST("a server that has stopped listening can listen again, and its connections go on") {
  Fixture fixture;
  fixture.listen();
  auto before = fixture.connect_websocket();
  fixture.server->stop_listening();
  fixture.listen();
  auto after = fixture.connect_websocket();
  before->send_frame(0x81, "before");
  fixture.wait([&] { return fixture.events.messages == 1; }, "a message on the connection from before");
  after->send_frame(0x81, "after");
  fixture.wait([&] { return fixture.events.messages == 2; }, "a message on the connection from after");
}

TEST("a server listens on several addresses, and gives up all of them at once") {
  Fixture fixture;
  int first = fixture.listen();
  int second = fixture.listen();
  CHECK(first != second);
  auto on_second = fixture.connect_websocket();
  fixture.port = first;
  auto on_first = fixture.connect_websocket();
  fixture.server->stop_listening();
  for (int port : {first, second}) {
    nws::ListenAddress freed = Fixture::any_port();
    freed.port = static_cast<std::uint16_t>(port);
    CHECK(fixture.server->listen(freed));
  }
}

TEST("a descriptor that cannot accept is left alone") {
  Fixture fixture;
  nws::ListenAddress address;
  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  for (int end : ends) {
    address.descriptor = end;
    CHECK(fixture.server->listen(address).error == EINVAL);
    CHECK(close(end) == 0);
  }
  address.descriptor = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(fixture.server->listen(address).error == EINVAL);
  CHECK(close(address.descriptor) == 0);
}

TEST("addresses that cannot be listened on are reported with their errno") {
  for (auto [host, error] : {std::pair{"192.0.2.1", EADDRNOTAVAIL}, std::pair{"no address", EINVAL}}) {
    Fixture fixture;
    nws::ListenAddress address = Fixture::any_port();
    address.host = host;
    CHECK(fixture.server->listen(address).error == error);
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
    CHECK(!fixture.server->listen(Fixture::any_port()));
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

/// The two ends of a connection: `ours` is handed over, and `theirs` is the client's.
struct ConnectedPair {
  int ours = -1, theirs = -1;
  ConnectedPair() {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    ours = ends[0];
    theirs = ends[1];
  }
  ~ConnectedPair() {
    close_ours();
    ::close(theirs);
  }
  void close_ours() {
    if (ours >= 0) {
      ::close(std::exchange(ours, -1));
    }
  }
  /// What has come, and whether the server has ended its side.
  std::pair<std::string, bool> received;
  void receive() {
    char bytes[4096];
    ssize_t length = recv(theirs, bytes, sizeof bytes, MSG_DONTWAIT);
    received.first.append(bytes, length > 0 ? static_cast<std::size_t>(length) : 0);
    received.second = received.second || length == 0;
  }
};

const std::string upgrade_head =
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

TEST("a connection is taken over by a descriptor of its own, with what was read from it, by a server that never listened") {
  Fixture fixture;
  ConnectedPair pair;
  auto adoption = fixture.server->take_over(pair.ours, upgrade_head + RawClient::frame(1, "early"));
  CHECK(adoption.error == 0 && adoption.exchange == fixture.events.waiting.back().exchange);
  pair.close_ours();
  auto echoed = [&](std::string_view text) {
    return [&pair, text] {
      pair.receive();
      return pair.received.first.ends_with(text);
    };
  };
  fixture.wait(echoed("early"), "the echo of what came with the request");
  CHECK(pair.received.first.starts_with("HTTP/1.1 101"));
  std::string later = RawClient::frame(1, "later");
  CHECK(send(pair.theirs, later.data(), later.size(), 0) == static_cast<ssize_t>(later.size()));
  fixture.wait(echoed("later"), "the echo of what came afterwards");
  CHECK(fixture.server->counters().tcp_connections == 1);
}

TEST("a connection that was taken over ends with the response to its request, whatever came behind") {
  for (std::string head : {"GET /here HTTP/1.1\r\nHost: a\r\n\r\n", "no request\r\n\r\n"}) {
    Fixture fixture;
    ConnectedPair pair;
    auto adoption = fixture.server->take_over(pair.ours, head + "GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(adoption.error == 0 && (adoption.exchange != 0) == head.starts_with("GET"));
    pair.close_ours();
    fixture.wait(
        [&] {
          pair.receive();
          return pair.received.second;
        },
        "the end of the connection");
    CHECK(pair.received.first.starts_with("HTTP/1.1 "));
    CHECK(pair.received.first.find("HTTP/1.1 ", 1) == std::string::npos);
    CHECK(fixture.events.requests == (head.starts_with("GET") ? 1 : 0));
  }
}

TEST("a connection stays where it is when it cannot be taken over") {
  ConnectedPair pair;
  {
    Fixture secure(Fixture::tls());
    CHECK(secure.server->take_over(pair.ours, upgrade_head).error == EINVAL);
  }
  Fixture plain;
  CHECK(plain.server->take_over(-1, upgrade_head).error == EBADF);
  CHECK(plain.server->counters().tcp_connections == 0);
  CHECK(send(pair.ours, "x", 1, 0) == 1);
}

TEST("a server is destroyed with a connection that it has taken over, and whose request waits") {
  ConnectedPair pair;
  {
    Fixture fixture;
    fixture.hold_requests = true;
    CHECK(fixture.server->take_over(pair.ours, upgrade_head).exchange != 0);
    pair.close_ours();
  }
  pair.receive();
  CHECK(pair.received.second);
}

TEST("without descriptors the server waits, says so once, serves who is connected, and accepts again") {
  Fixture fixture;
  fixture.listen();
  auto connected = fixture.connect_websocket();
  std::unique_ptr<RawClient> waiting;
  {
    // The client's end of the next connection takes the last descriptor, so that there is none for the
    // server's end.
    WithoutDescriptors none_for_the_server(1);
    waiting = fixture.connect();
    fixture.wait([&] { return fixture.events.exhausted > 0; }, "the shortage");
    connected->send_frame(1, "still here");
    CHECK(connected->read_frame().payload == "still here");
  }
  CHECK(waiting->open() == "HTTP/1.1 101 Switching Protocols");
  CHECK(fixture.events.exhausted == 1);
}

TEST("with a set of sockets or without, clients come, get what is too long for the kernel, and leave in every way") {
  test::for_each_kind_of_poll([](Fixture &fixture) {
    auto first = fixture.connect_websocket();
    first->send_frame(1, "hello");
    CHECK(first->read_frame().payload == "hello");
    int sent = test::fill(fixture, std::string(1 << 20, 'x'));
    for (int i = 0; i < sent; i++) {
      CHECK(first->read_frame().payload.size() == 1 << 20);
    }
    auto second = fixture.connect_websocket();
    auto third = fixture.connect_websocket();
    first->send_frame(8, "\x03\xe8");
    test::expect_close(*first, 1000);
    second->reset();
    fixture.wait([&] { return fixture.events.closes.size() == 2; }, "the end of two connections");
    third->send_frame(1, "still here");
    CHECK(third->read_frame().payload == "still here");
  });
}

}  // namespace
