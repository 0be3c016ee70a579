// Compressed texts in fragments, looked at as they come.
#include <algorithm>
#include <string>

#include "compression_fixture.h"
#include "harness.h"

namespace {

using nws::Compression;
using nws::Inflated;
using nws::SharedCompression;
using test::connection;
using test::no_limit;
using test::no_share;
using test::words;

}  // namespace

TEST("a text in fragments can be looked at as it comes, a byte at a time, and is a whole message afterwards") {
  for (bool takeover : {false, true}) {
    SharedCompression shared;
    Compression sender = connection(shared, 15, takeover);
    Compression receiver = connection(shared, 15, takeover);
    Compression another = connection(shared, 15, takeover);
    for (std::size_t size : {1u, 300u, 20'000u, 300u}) {
      std::string message = words(size);
      std::string compressed(sender.compress_fragment(message, true));
      std::string seen;
      for (std::size_t length = 1; length < compressed.size(); length++) {
        std::string come = compressed.substr(0, length);
        Inflated step = receiver.inflate_fragments(come, size, no_share);
        CHECK(step.state == Inflated::State::incomplete);
        // All but the last three bytes, as if these began a character.
        std::size_t checked = step.data.length() - std::min<std::size_t>(3, step.data.length());
        seen += step.data.substr(0, checked);
        receiver.keep_incomplete(step.data, checked);
        if (length % 100 == 0) {
          another.compress(message);
          another.decompress(compressed, no_limit, no_share);
        }
      }
      CHECK(message.starts_with(seen) && seen.size() + 3 + 300 > message.size());
      receiver.end_fragments();
      Inflated whole = receiver.decompress(compressed, size, no_share);
      CHECK(whole.state == Inflated::State::whole && whole.data == message);
    }
  }
}

TEST("a text in fragments is too long as soon as it is, and takes several steps when the share is small") {
  SharedCompression shared;
  Compression sender = connection(shared, 15, false);
  std::string compressed(sender.compress_fragment(std::string(1 << 20, 'x'), false));
  Compression receiver = connection(shared, 15, false);
  CHECK(receiver.inflate_fragments(compressed, (1 << 20) - 1, no_share).state == Inflated::State::too_long);
  Compression patient = connection(shared, 15, false);
  std::size_t seen = 0;
  do {
    Inflated step = patient.inflate_fragments(compressed, 1 << 20, 64 << 10);
    CHECK(step.cost > 0 && step.cost <= (64 << 10) + 2048);
    seen += step.data.length();
    patient.keep_incomplete(step.data, step.data.length());
  } while (patient.has_unchecked_fragments());
  CHECK(seen == 1 << 20);
  CHECK(patient.inflate_fragments(compressed, 1 << 20, 0).data.empty() && !patient.has_unchecked_fragments());
  Compression late = connection(shared, 15, false);
  CHECK(late.inflate_fragments(compressed, 1 << 20, 0).data.empty() && late.has_unchecked_fragments());
  Compression final_block = connection(shared, 15, false);
  CHECK(final_block.inflate_fragments(std::string("\x03\x00", 2), no_limit, no_share).state == Inflated::State::incomplete);
  Compression broken = connection(shared, 15, false);
  CHECK(broken.inflate_fragments("\xff\xff\xff", no_limit, no_share).state == Inflated::State::invalid);
}
