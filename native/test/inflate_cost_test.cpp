// What it costs to decompress a message that has little in it.
#include <string>
#include <string_view>

#include "harness.h"
#include "server/websocket/compression.h"

using nws::Inflated;
using nws::Inflater;
using nws::ScratchBuffer;

TEST("a block with codes of its own has its price, though nothing comes out of it") {
  // Eight of them (RFC 1951, section 3.2.7): codes for the end of a block alone.
  constexpr std::string_view eight(
      "\x04\xc0\x81\x00\x00\x00\x00\x00\x90\xff\x6b\x10\x00\x07\x02\x00\x00\x00\x00\x40\xfe\xaf\x41\x00\x1c\x08\x00\x00\x00\x00"
      "\x00\xf9\xbf\x06\x01\x70\x20\x00\x00\x00\x00\x00\xe4\xff\x1a\x04\xc0\x81\x00\x00\x00\x00\x00\x90\xff\x6b\x10\x00\x07\x02"
      "\x00"
      "\x00\x00\x00\x40\xfe\xaf\x41\x00\x1c\x08\x00\x00\x00\x00\x00\xf9\xbf\x06\x01\x70\x20\x00\x00\x00\x00\x00\xe4\xff\x1a",
      90);
  std::string message;
  for (int i = 0; i < 1000; i++) {
    message += eight;
  }
  message += '\0';
  Inflater inflater(15);
  ScratchBuffer out;
  Inflater::Progress progress;
  Inflated step;
  int steps = 0;
  do {
    step = inflater.inflate(message, true, 1 << 20, 1 << 20, out, progress);
    steps++;
    CHECK(step.cost <= (1 << 20) + 1024);
  } while (step.state == Inflated::State::more);
  CHECK(step.state == Inflated::State::whole && step.data.empty());
  CHECK(steps >= 8);
}
