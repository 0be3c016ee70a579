// What one connection, and all of them, get in a turn of the loop.
#include <algorithm>

#include "fixture.h"

namespace {

using nws::Turns;
using test::Fixture;
using test::for_plain_and_tls;
using test::Frame;
using test::limits;
using test::most_messages_at_once;
using test::numbered_frames;
using test::RawClient;

TEST("a client that sends many messages at once has its share of them in each turn, and gets all answers in order") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    client->send(numbered_frames(3000));
    // A connection has one share in each of the two passes of an iteration.
    CHECK(most_messages_at_once(fixture, 3000) <= static_cast<int>(2 * Turns::max_events));
    for (int i = 0; i < 3000; i++) {
      CHECK(client->read_frame().payload == std::to_string(i));
    }
  });
}

TEST("another client is answered before a flood is") {
  for_plain_and_tls([](Fixture &fixture) {
    auto flood = fixture.connect_websocket();
    auto witness = fixture.connect_websocket();
    flood->send(numbered_frames(5000));
    witness->send_frame(1, "me too");
    CHECK(witness->read_frame().payload == "me too");
    CHECK(fixture.events.messages <= static_cast<int>(6 * Turns::max_events));
  });
}

TEST("many clients that send as much as is read at once are read up to the total of a turn, one after the other") {
  constexpr int count = 200;
  constexpr std::size_t length = LIBUS_RECV_BUFFER_LENGTH;
  Fixture fixture;
  fixture.listen();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < count; i++) {
    clients.push_back(fixture.connect_websocket());
  }
  std::string frame = RawClient::frame(2, std::string(length - 8, 'x'));  // behind a head of 8 bytes
  for (auto &client : clients) {
    client->send(frame + frame);
  }
  int most = 0;
  fixture.wait(
      [&, before = fixture.events.messages]() mutable {
        most = std::max(most, fixture.events.messages - before);
        before = fixture.events.messages;
        auto has_two = [](const auto &entry) { return entry.second == 2; };
        return std::any_of(fixture.events.messages_of.begin(), fixture.events.messages_of.end(), has_two);
      },
      "a client's second message");
  CHECK(most <= static_cast<int>(Turns::max_total_read / length));
  CHECK(fixture.events.messages_of.size() == count);
}

TEST("another client is answered before a flood that raises no event, of more clients than are read in a turn") {
  Fixture fixture;
  fixture.listen();
  auto witness = fixture.connect_websocket();
  std::vector<std::unique_ptr<RawClient>> flood;
  // Fragments of one message, all of which have nothing in them.
  std::string fragments = RawClient::frame(2, "", false);
  for (std::string fragment = RawClient::frame(0, "", false); fragments.size() < 4 * LIBUS_RECV_BUFFER_LENGTH;) {
    fragments += fragment;
  }
  constexpr std::size_t count = 3 * Turns::max_total_read / LIBUS_RECV_BUFFER_LENGTH;
  for (std::size_t i = 0; i < count; i++) {
    flood.push_back(fixture.connect_websocket());
  }
  for (auto &client : flood) {
    client->send(fragments);
  }
  for (int round = 0; round < 5; round++) {
    witness->send_frame(1, "me too");
    int iterations = 0;
    fixture.wait(
        [&] {
          iterations++;
          return fixture.events.messages == round + 1;
        },
        "the message of the other client");
    // The first time, the clients of the flood newly have input as well.
    CHECK(round == 0 || iterations <= 3);
  }
}

TEST("frames of every length and kind may end a share, in pieces too") {
  Fixture fixture;
  fixture.listen();
  auto client = fixture.connect_websocket();
  std::string bytes;
  constexpr int count = 2 * static_cast<int>(Turns::max_events) + 40;
  for (int i = 0; i < count; i++) {
    // Lengths that take each of the three forms, fragments, and a Ping inside of a message.
    std::string payload(i % 7 == 0 ? 126 : i % 7 == 1 ? 300 : static_cast<std::size_t>(i % 5), static_cast<char>('a' + i % 26));
    if (i % 3 == 0) {
      bytes += RawClient::frame(2, "x", false) + RawClient::frame(9, "p") + RawClient::frame(0, payload);
    } else {
      bytes += RawClient::frame(2, payload);
    }
  }
  for (std::size_t at = 0; at < bytes.size(); at += 1999) {
    client->send(std::string_view(bytes).substr(at, 1999));
  }
  for (int i = 0; i < count; i++) {
    std::string payload(i % 7 == 0 ? 126 : i % 7 == 1 ? 300 : static_cast<std::size_t>(i % 5), static_cast<char>('a' + i % 26));
    Frame frame = client->read_frame();
    while (frame.op_code == 10) {
      frame = client->read_frame();
    }
    CHECK(frame.payload == (i % 3 == 0 ? "x" + payload : payload));
  }
  CHECK(fixture.events.closes.empty());
}

TEST("a length in a longer form than it needs does not disturb where a share ends") {
  Fixture fixture;
  fixture.listen();
  auto client = fixture.connect_websocket();
  std::string bytes;
  for (std::uint32_t i = 0; i < 3 * Turns::max_events; i++) {
    // 3 bytes, as a length of 16 or 64 bits; masked with zeros.
    std::string head = i % 2 ? std::string("\x81\xfe\x00\x03", 4) : std::string("\x81\xff\x00\x00\x00\x00\x00\x00\x00\x03", 10);
    bytes += head + std::string(4, '\0') + "abc";
  }
  client->send(bytes);
  for (std::uint32_t i = 0; i < 3 * Turns::max_events; i++) {
    CHECK(client->read_frame().payload == "abc");
  }
}

TEST("a connection that waits for its turn may be paused, resumed, and end in every way") {
  for_plain_and_tls([](Fixture &fixture) {
    constexpr int count = 2000;
    for (const char *what : {"pause", "close", "terminate", "leave"}) {
      fixture.events.messages = 0;
      auto client = fixture.connect_websocket();
      client->send(numbered_frames(count));
      fixture.wait([&] { return fixture.events.messages > 0; }, "the first share");
      CHECK(fixture.events.messages < count);
      auto &connection = fixture.only_connection();
      std::size_t ended = fixture.events.closes.size();
      if (std::string_view(what) == "pause") {
        connection.owner()->pause(connection.socket);
        int before = fixture.events.messages;
        for (int i = 0; i < 20; i++) {
          uv_run(&fixture.loop, UV_RUN_NOWAIT);
        }
        CHECK(fixture.events.messages == before);
        connection.owner()->resume(connection.socket);
        CHECK(most_messages_at_once(fixture, count) <= static_cast<int>(2 * Turns::max_events));
        client->close();
      } else if (std::string_view(what) == "close") {
        connection.owner()->close(connection.socket, 1000, "");
        client->close();
      } else if (std::string_view(what) == "terminate") {
        connection.owner()->terminate(connection.socket);
      } else {
        client->close();
      }
      fixture.wait([&] { return fixture.events.closes.size() > ended; }, "the end");
    }
    CHECK(fixture.events.closes.size() == 4);
  });
}

TEST("a server may be destroyed while its connections wait for their turns") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    auto http = fixture.connect();
    client->send(numbered_frames(3000));
    std::string requests;
    for (int i = 0; i < 1000; i++) {
      requests += "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    }
    http->send(requests);
    fixture.wait([&] { return fixture.events.messages > 0; }, "the first share");
    fixture.server.reset();
    CHECK(fixture.events.messages < 3000);
  });
}

TEST("pipelined requests are begun as their client takes the answers, and no more than a share of them in a turn") {
  Fixture fixture;
  fixture.listen();
  auto client = fixture.connect();
  constexpr int count = 500;
  std::string requests;
  for (int i = 0; i < count; i++) {
    requests += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: a\r\n\r\n";
  }
  client->send(requests);
  for (int i = 0; i < count; i++) {
    std::string answer = client->read_until("\r\n\r\n/" + std::to_string(i));
    CHECK(answer.starts_with("HTTP/1.1 200 OK"));
  }
}

TEST("invalid UTF-8 in a fragment ends the connection before the message does") {
  // As RFC 3629 has it: a lone continuation, an overlong form, a surrogate, a character beyond the last one,
  // and halves of these.
  for (std::string bytes : {"\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90", "\xe0\x80", "\xf5", "\xf0\x8f", "\xc3("}) {
    Fixture fixture;
    fixture.listen();
    auto client = fixture.connect_websocket();
    client->send_frame(1, "valid \xc3\xa4", false);
    client->send_frame(0, bytes, false);
    test::expect_close(*client, 1007);
  }
  Fixture fixture;
  fixture.listen();
  auto client = fixture.connect_websocket();
  std::string text = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf";
  for (std::size_t i = 0; i < text.size(); i++) {
    client->send_frame(i == 0 ? 1 : 0, text.substr(i, 1), i + 1 == text.size());
  }
  CHECK(client->read_frame().payload == text);
}

TEST("what waits for the peer is written while a connection is paused whose input waits") {
  for_plain_and_tls([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    test::fill(fixture, std::string(100'000, 'x'));
    client->send(numbered_frames(2000));
    fixture.wait([&] { return fixture.events.messages > 0; }, "the first share");
    auto &connection = fixture.only_connection();
    connection.owner()->pause(connection.socket);
    // The client reads; all that was sent arrives although the connection stays paused.
    CHECK(fixture.table.quota(fixture.events.opened.back()).buffered > 0);
    while (fixture.table.quota(fixture.events.opened.back()).buffered > 0) {
      client->read_frame();
    }
    connection.owner()->resume(connection.socket);
    fixture.wait([&] { return fixture.events.messages == 2000; }, "all messages");
  });
}

TEST("what comes together with the end of a TLS connection is delivered, whatever waits for its turn") {
  for (bool half : {false, true}) {
    Fixture fixture(Fixture::tls());
    fixture.listen();
    auto client = fixture.connect_websocket();
    constexpr int count = 2000;
    client->send(numbered_frames(count));
    client->notify_close();
    if (!half) {
      client->finish();
    }
    fixture.wait([&] { return fixture.events.closes.size() == 1; }, "the end");
    CHECK(fixture.events.messages == count);
  }
}

}  // namespace
