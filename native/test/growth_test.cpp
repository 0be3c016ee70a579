// What a client sends costs no more than linear work, in whatever pieces it comes. Counted are the bytes that
// are allocated, since what grows by being copied needs memory for it, and those that are moved within it:
// not time, which tells something else on each machine.
#include <cstdlib>
#include <functional>
#include <new>
#include <string>
#include <string_view>

#include "fixture.h"
#include "server/http/http_connection_state.h"

namespace {

std::size_t allocated = 0;

}  // namespace

void *operator new(std::size_t size) {
  allocated += size;
  if (void *memory = std::malloc(size)) {
    return memory;
  }
  throw std::bad_alloc();
}
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }

namespace {

using test::Fixture;
using test::RawClient;

std::string repeated(std::string_view piece, std::size_t times) {
  std::string bytes;
  bytes.reserve(piece.size() * times);
  for (std::size_t i = 0; i < times; i++) {
    bytes.append(piece);
  }
  return bytes;
}

/// `cost` of so much, and of four times as much. Were it quadratic, that would be sixteen times as dear.
void check_linear(std::size_t amount, const std::function<std::size_t(std::size_t)> &cost) {
  cost(amount);  // what the first one takes, and stays
  std::size_t once = cost(amount), four_times = cost(4 * amount);
  CHECK(once > 0);
  CHECK(four_times < 8 * once);
}

/// Bytes that are allocated from the sending until the condition holds.
std::size_t allocated_by(Fixture &fixture, RawClient &client, std::string_view bytes, std::size_t piece,
                         const std::function<bool()> &is_done) {
  std::size_t before = allocated;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    client.send(bytes.substr(at, piece));
    if (piece < bytes.size()) {
      uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }
  }
  fixture.wait(is_done, "what was sent");
  return allocated - before;
}

std::size_t cost_of_frames(std::string_view bytes, int messages) {
  Fixture fixture;
  fixture.listen();
  auto client = fixture.connect_websocket();
  return allocated_by(fixture, *client, bytes, bytes.size(), [&] { return fixture.events.messages == messages; });
}

std::size_t cost_of_requests(const std::string &bytes, std::size_t piece, const std::function<bool(Fixture &)> &is_done) {
  Fixture fixture;
  fixture.hold_requests = true;
  fixture.listen();
  auto client = fixture.connect();
  return allocated_by(fixture, *client, bytes, piece, [&] { return is_done(fixture); });
}

TEST("a head that comes byte by byte costs linear work") {
  check_linear(3000, [](std::size_t length) {
    return cost_of_requests("GET /" + std::string(length, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", 1,
                            [](Fixture &fixture) { return !fixture.events.waiting.empty(); });
  });
}

TEST("a body in chunks of a byte costs linear work, at once and byte by byte") {
  for (bool at_once : {true, false}) {
    check_linear(1000, [at_once](std::size_t count) {
      std::string bytes =
          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + repeated("1\r\nx\r\n", count) + "0\r\n\r\n";
      return cost_of_requests(bytes, at_once ? bytes.size() : 1,
                              [count](Fixture &fixture) { return fixture.events.body == std::string(count, 'x') + "|"; });
    });
  }
}

TEST("messages of a byte, fragments and pieces of a frame cost linear work") {
  check_linear(
      2000, [](std::size_t count) { return cost_of_frames(repeated(RawClient::frame(2, "x"), count), static_cast<int>(count)); });
  for (std::string_view payload : {"", "x"}) {
    check_linear(5000, [payload](std::size_t count) {
      std::string bytes = RawClient::frame(1, "begin", false) + repeated(RawClient::frame(0, payload, false), count);
      return cost_of_frames(bytes + RawClient::frame(0, "end"), 1);
    });
  }
  check_linear(2000, [](std::size_t length) {
    Fixture fixture;
    fixture.listen();
    auto client = fixture.connect_websocket();
    return allocated_by(fixture, *client, RawClient::frame(2, std::string(length, 'x')), 1,
                        [&] { return fixture.events.messages == 1; });
  });
}

TEST("pipelined requests that are held are taken from the front at linear cost") {
  // Each step brings a request and takes one, behind a number of others that wait all the time.
  constexpr std::string_view request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  check_linear(500, [request](std::size_t waiting) {
    nws::HeldInput held;
    std::string first = repeated(request, waiting);
    held.append(first.data(), first.size());
    std::size_t moved = first.size();
    std::size_t before = allocated;
    for (std::size_t i = 0; i < 4 * waiting; i++) {
      const char *place = held.data();
      held.append(request.data(), request.size());
      moved += held.data() == place ? request.size() : held.size();
      held.drop(request.size());
      CHECK(held.capacity() <= nws::HeldInput::most);
    }
    CHECK(held.view() == first);
    return moved + allocated - before;
  });
}

TEST("input that is held takes no more memory than may wait and one read") {
  nws::HeldInput held;
  std::string read(LIBUS_RECV_BUFFER_LENGTH, 'x');
  for (std::size_t taken : {1000, 30'000, 64'000}) {
    for (int i = 0; i < 20; i++) {
      held.append(read.data(), read.size());
      CHECK(held.capacity() <= nws::HeldInput::most);
      held.drop(taken);  // of which some is left behind, now and then
      while (held.size() > nws::HttpConnectionState::max_held) {
        held.drop(std::min<std::size_t>(held.size(), 777));
      }
    }
  }
}

}  // namespace
