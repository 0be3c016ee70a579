// The PROXY protocol: the header alone, and connections that wait for theirs, as pairs of sockets without a
// server.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "harness.h"
#include "raw_client.h"
#include "server/net/proxy_protocol.h"

namespace {

using nws::ProxyHeader;
using nws::ProxyStage;
using test::wait_until;

using State = ProxyHeader::State;

std::string header(unsigned char command, unsigned char family, const std::string &body) {
  std::string text("\r\n\r\n\0\r\nQUIT\n", 12);
  text += static_cast<char>(command);
  text += static_cast<char>(family);
  text += static_cast<char>(body.size() >> 8);
  text += static_cast<char>(body.size() & 0xff);
  return text + body;
}

const std::string tcp4("\xc0\x00\x02\x07\xc6\x33\x64\x01\xc3\x50\x01\xbb", 12);

TEST("a PROXY header is asked for exactly what it still lacks, byte by byte") {
  std::string whole = header(0x21, 0x11, tcp4 + std::string(40, 'x'));
  for (std::size_t length = 0; length < whole.size(); length++) {
    ProxyHeader partial = ProxyHeader::parse(std::string_view(whole).substr(0, length));
    CHECK(partial.state == State::incomplete);
    CHECK(partial.missing == (length < 16 ? 16 - length : whole.size() - length));
  }
  ProxyHeader complete = ProxyHeader::parse(whole);
  CHECK(complete.state == State::complete && complete.missing == 0 && complete.address == "192.0.2.7");
}

TEST("a PROXY header tells addresses of TCP, and no others") {
  std::string mapped = std::string(10, '\0') + "\xff\xff\xc0" + std::string(1, '\0') + "\x02\x07" + std::string(20, '\0');
  CHECK(ProxyHeader::parse(header(0x21, 0x21, mapped)).address == "192.0.2.7");
  std::string six = "\x20\x01\x0d\xb8" + std::string(11, '\0') + "\x01" + std::string(20, '\0');
  CHECK(ProxyHeader::parse(header(0x21, 0x21, six)).address == "2001:db8::1");
  for (const std::string &silent :
       {header(0x20, 0x11, tcp4), header(0x20, 0xff, ""), header(0x21, 0, ""), header(0x21, 0x12, tcp4),
        header(0x21, 0x22, std::string(36, 'x')), header(0x21, 0x31, std::string(216, 'x'))}) {
    ProxyHeader parsed = ProxyHeader::parse(silent);
    CHECK(parsed.state == State::complete && parsed.address.empty());
  }
}

TEST("what is no PROXY header of version 2 is invalid as soon as that can be seen") {
  std::string wrong = header(0x21, 0x11, tcp4);
  for (std::size_t at = 0; at < 13; at++) {
    std::string changed = wrong;
    changed[at] ^= 0x40;
    CHECK(ProxyHeader::parse(std::string_view(changed).substr(0, at + 1)).state == State::invalid);
  }
  for (const std::string &invalid :
       {header(0x22, 0x11, tcp4), header(0x21, 0x41, tcp4), header(0x21, 0x13, tcp4), header(0x21, 0x11, tcp4.substr(1)),
        header(0x21, 0x21, tcp4), header(0x21, 0x31, std::string(215, 'x')),
        header(0x21, 0x11, std::string(ProxyHeader::max_bytes - 15, 'x'))}) {
    CHECK(ProxyHeader::parse(std::string_view(invalid).substr(0, 16)).state == State::invalid);
  }
  CHECK(ProxyHeader::parse(header(0x21, 0x11, std::string(ProxyHeader::max_bytes - 16, 'x'))).state == State::complete);
}

/// A stage on a loop of its own.
struct Fixture {
  Fixture() {
    uv_loop_init(&loop);
    stage.emplace(&loop, [this](int descriptor, std::string_view address) {
      ready = descriptor;
      told = address;
    });
  }
  ~Fixture() {
    stage.reset();
    if (ready >= 0) {
      ::close(ready);
    }
    for (int client : clients) {
      ::close(client);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop) == 0);
  }

  /// Hands one end to the stage, and gives the other.
  int connect(std::string_view first = {}) {
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    clients.push_back(pair[1]);
    CHECK(::write(pair[1], first.data(), first.size()) == static_cast<ssize_t>(first.size()));
    stage->take(pair[0]);
    return pair[1];
  }
  /// Whether the stage has closed the other end.
  bool is_cut(int client) {
    char byte;
    return ::recv(client, &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
  }

  uv_loop_t loop{};
  std::optional<ProxyStage> stage;
  std::vector<int> clients;
  int ready = -1;
  std::string told;
};

TEST("a connection is handed over behind its PROXY header, and nothing beyond it has been read") {
  for (bool at_once : {true, false}) {
    Fixture fixture;
    std::string all = header(0x21, 0x11, tcp4) + "GET /";
    if (at_once) {
      fixture.connect(all);
    } else {
      int client = fixture.connect();
      for (std::size_t at = 0; at < all.size() && fixture.ready < 0; at++) {
        CHECK(::write(client, &all[at], 1) == 1);
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
      }
      CHECK(::write(client, "GET /", 5) == 5);
    }
    CHECK(fixture.ready >= 0 && fixture.told == "192.0.2.7");
    char rest[16] = "";
    CHECK(::recv(fixture.ready, rest, sizeof rest, 0) == 5 && std::string(rest) == "GET /");
  }
}

TEST("a connection without a PROXY header is cut, others wait on") {
  Fixture fixture;
  int waiting = fixture.connect(header(0x21, 0x11, tcp4).substr(0, 20));
  int early = fixture.connect("GET / HTTP/1.1\r\n");
  int late = fixture.connect();
  int gone = fixture.connect("\r\n");
  CHECK(::write(late, "x", 1) == 1);
  shutdown(gone, SHUT_WR);
  wait_until(
      &fixture.loop, [&] { return fixture.is_cut(early) && fixture.is_cut(late) && fixture.is_cut(gone); },
      "connections to be cut");
  CHECK(fixture.ready < 0 && !fixture.is_cut(waiting));
}

TEST("a stage of PROXY headers is destroyed with connections in it, which are cut") {
  Fixture fixture;
  std::vector<int> clients;
  for (int i = 0; i < 10; i++) {
    clients.push_back(fixture.connect(header(0x21, 0x11, tcp4).substr(0, static_cast<std::size_t>(i))));
  }
  fixture.stage.reset();
  for (int client : clients) {
    CHECK(fixture.is_cut(client));
  }
}

}  // namespace
