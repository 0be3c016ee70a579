// Memory in which messages are lent: where it puts them, and what is read into it.
#include "server/net/lent_memory.h"

#include <string>
#include <vector>

#include "fixture.h"

namespace {

using nws::LentMemory;
using nws::ReceiveBuffer;
using test::Fixture;
using test::RawClient;

constexpr std::size_t read_size = ReceiveBuffer::length + 2 * ReceiveBuffer::padding;

}  // namespace

TEST("lent messages lie behind each other, what does not fit is not lent, and the memory is used again") {
  Fixture fixture;
  std::string memory(read_size + 1000, '-');
  LentMemory lent(memory, fixture.event_loop->turns());
  CHECK(LentMemory::current() == &lent);
  CHECK(lent.lend("first") == 0);
  CHECK(lent.lend("second") == 5);
  CHECK(memory.starts_with("firstsecond-"));
  CHECK(!lent.lend(std::string(memory.size(), 'x')));
  CHECK(lent.lend(std::string(memory.size() - 11, 'x')) == 11);
  CHECK(!lent.lend("x"));
  CHECK(!lent.begin_reading());
  lent.reuse();
  CHECK(lent.lend("again") == 0);
}

TEST("a message that one read has brought whole is lent where it is, and a copy goes behind what is being read") {
  Fixture fixture;
  std::string memory(3 * read_size, '-');
  LentMemory lent(memory, fixture.event_loop->turns());
  char *buffer = lent.begin_reading();
  CHECK(buffer == memory.data() + ReceiveBuffer::padding);
  std::string("..message").copy(buffer, 9);
  std::string_view message(buffer + 2, 7);
  CHECK(lent.lend("elsewhere") == read_size);
  CHECK(lent.lend(message) == ReceiveBuffer::padding + 2);
  lent.end_reading();
  CHECK(lent.begin_reading() == memory.data() + read_size + 9 + ReceiveBuffer::padding);
  lent.end_reading();
  CHECK(lent.lend("behind") == read_size + 9);
}

TEST("sockets are read into the lent memory, and messages in one read, in several and in fragments stay what they are") {
  Fixture fixture;
  fixture.listen();
  auto client = fixture.connect_websocket();
  std::string memory(16 * read_size, '-');
  LentMemory lent(memory, fixture.event_loop->turns());
  std::string input;
  std::vector<std::string> sent;
  for (char letter = 'a'; letter <= 'f'; letter++) {
    sent.emplace_back(3000 + static_cast<std::size_t>(letter), letter);
    input += RawClient::frame(2, sent.back());
  }
  sent.emplace_back(100'000, 'g');
  input += RawClient::frame(2, sent.back());
  sent.emplace_back(6000, 'h');
  input += RawClient::frame(2, sent.back().substr(0, 3000), false) + RawClient::frame(0, sent.back().substr(3000));
  sent.emplace_back(3000, 'i');
  input += RawClient::frame(2, sent.back());
  std::vector<std::string> seen;
  std::size_t in_place = 0;
  fixture.events.lend = [&](std::string_view payload) {
    bool is_here = payload.data() >= memory.data() && payload.data() < memory.data() + memory.size();
    auto offset = lent.lend(payload);
    CHECK(offset.has_value());
    seen.push_back(memory.substr(*offset, payload.length()));
    in_place += is_here;
  };
  client->send(input);
  fixture.wait([&] { return seen.size() == sent.size(); }, "all messages");
  CHECK(seen == sent);
  CHECK(in_place >= 6);
}
