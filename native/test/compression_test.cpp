// The compression of messages by itself: no sockets, no loop.
#include "server/websocket/compression.h"
#include "server/websocket/compressed_publish_cache.h"

#include <string>
#include <vector>

#include "compression_fixture.h"
#include "harness.h"

namespace {

using nws::Compress;
using nws::CompressedPublishCache;
using nws::Compression;
using nws::Deflater;
using nws::Inflated;
using nws::Inflater;
using nws::ScratchBuffer;
using nws::SharedCompression;
using test::any;
using test::connection;
using test::no_limit;
using test::no_share;
using test::noise;
using test::tail;
using test::words;

/// A copy, so that the sanitizer sees who reads behind the end.
Inflated inflate(Inflater &inflater, std::string_view data, ScratchBuffer &out, std::size_t limit = no_limit) {
  std::vector<char> exact(data.begin(), data.end());
  Inflater::Progress progress;
  return inflater.inflate({exact.data(), exact.size()}, true, limit, no_share, out, progress);
}

bool is_invalid(std::string_view data) {
  Inflater inflater(15);
  ScratchBuffer out;
  return inflate(inflater, data, out).state == Inflated::State::invalid;
}

}  // namespace

TEST("messages of all sizes come back, whatever the window, kept or not") {
  for (bool takeover : {false, true}) {
    for (int bits = 8; bits <= 15; bits++) {
      SharedCompression shared;
      Compression sender = connection(shared, bits, takeover);
      Compression receiver = connection(shared, bits, takeover);
      for (std::size_t size : {1u, 2u, 100u, 1000u, 16'383u, 16'384u, 16'385u, 100'000u, 1'000'000u}) {
        for (const std::string &message : {words(size), noise(size), std::string(size, 'x')}) {
          auto compressed = sender.compress(message);
          CHECK(compressed || !takeover);
          if (compressed) {
            CHECK(compressed->length() <= nws::max_compressed_length(size));
            std::string copy(*compressed);
            Inflated inflated = receiver.decompress(copy, size, no_share);
            CHECK(inflated.state == Inflated::State::whole && inflated.data == message);
          }
        }
      }
    }
  }
}

TEST("a kept window makes a repeated message short; a shared compressor remembers nothing") {
  SharedCompression shared;
  std::string message = noise(300);
  Compression own = connection(shared, 12, true);
  CHECK(own.compress(message)->length() > 300);
  CHECK(own.compress(message)->length() < 20);
  std::string text = words(300);
  Compression first = connection(shared, 12, false);
  Compression second = connection(shared, 12, false);
  std::string once(*first.compress(text));
  CHECK(*first.compress(text) == once);
  CHECK(*second.compress(text) == once);
  CHECK(!first.compress(message));  // as long as it is
}

TEST("fragments of one message are one message, with those of others in between") {
  for (bool takeover : {false, true}) {
    SharedCompression shared;
    Compression first = connection(shared, 15, takeover);
    Compression second = connection(shared, 15, takeover);
    Compression receiver = connection(shared, 15, takeover);
    for (int round = 0; round < 3; round++) {
      std::string message, compressed;
      for (std::size_t size : {0u, 5u, 20'000u, 0u, 1u, 0u}) {
        std::string fragment = words(size);
        message += fragment;
        compressed += first.compress_fragment(fragment, false);
        second.compress(words(500));
      }
      compressed += first.compress_fragment(round == 0 ? "end" : "", true);
      message += round == 0 ? "end" : "";
      Inflated inflated = receiver.decompress(compressed, no_limit, no_share);
      CHECK(inflated.state == Inflated::State::whole && inflated.data == message);
    }
  }
}

TEST("the threshold decides unless the sender does, and an empty message is never compressed") {
  SharedCompression shared;
  Compression compression = connection(shared, 15, false);
  CHECK(!compression.wants(99, Compress::by_size) && compression.wants(100, Compress::by_size));
  CHECK(compression.wants(1, Compress::always) && !compression.wants(0, Compress::always));
  CHECK(!compression.wants(1000, Compress::never));
}

TEST("a bomb is too long, at the price of one byte more than the limit") {
  Deflater deflater(15, 8);
  ScratchBuffer compressed;
  std::string bomb(deflater.deflate(std::string(10 << 20, '\0'), true, compressed));
  for (std::size_t limit : {1u, 1000u, 16'383u, 16'384u, 1u << 20}) {
    Inflater inflater(15);
    ScratchBuffer out;
    CHECK(inflate(inflater, bomb, out, limit).state == Inflated::State::too_long);
    CHECK(out.size() <= limit + 1);
  }
  Inflater inflater(15);
  ScratchBuffer out;
  CHECK(inflate(inflater, bomb, out, 10 << 20).data.size() == 10 << 20);
  out.trim();
  CHECK(out.size() == 0);
}

TEST("what is no deflate data, or breaks off, is invalid") {
  CHECK(is_invalid("\xff\xff\xff"));
  CHECK(is_invalid("plain text"));
  CHECK(is_invalid(std::string("\x00\x05\x00\x05\x00hello", 10)));
  CHECK(is_invalid(std::string("\x02\x0a\x00", 3)));  // a reference to before the beginning
  Deflater deflater(15, 8);
  ScratchBuffer buffer;
  std::string whole(deflater.deflate(words(1000), true, buffer));
  CHECK(!is_invalid(whole));
  // In all but a few places; there a block of its own happens to end.
  int found = 0;
  for (std::size_t length = 1; length < whole.size(); length++) {
    found += is_invalid(whole.substr(0, length));
  }
  CHECK(found > static_cast<int>(whole.size()) - 3);
}

TEST("random and damaged data never does harm, and a reset makes the decompressor good again") {
  Deflater deflater(15, 8);
  Inflater inflater(9);
  ScratchBuffer compressed, out;
  std::string good(deflater.deflate("good", true, compressed));
  for (int round = 0; round < 3000; round++) {
    deflater.reset();
    std::string bytes =
        round % 2 ? noise(1 + any() % 200) : std::string(deflater.deflate(words(1 + any() % 3000), true, compressed));
    for (unsigned i = 0; i < round % 3u; i++) {
      bytes[any() % bytes.size()] ^= static_cast<char>(1 << any() % 8);
    }
    Inflated inflated = inflate(inflater, bytes, out, 2000);
    CHECK(inflated.state != Inflated::State::whole || inflated.data.size() <= 2000);
    inflater.reset();
    CHECK(inflate(inflater, good, out).data == "good");
    inflater.reset();
  }
}

TEST("final blocks, empty blocks and nothing at all are what RFC 7692 says they are") {
  Inflater inflater(15);
  ScratchBuffer out;
  auto content = [&](std::string_view data) {
    Inflated inflated = inflate(inflater, data, out);
    CHECK(inflated.state == Inflated::State::whole);
    return std::string(inflated.data);
  };
  // Section 7.2.3: one block, stored, final, two blocks.
  CHECK(content(std::string("\xf2\x48\xcd\xc9\xc9\x07\x00", 7)) == "Hello");
  CHECK(content(std::string("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11)) == "Hello");
  CHECK(content(std::string("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8)) == "Hello");
  CHECK(content(std::string("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13)) == "Hello");
  CHECK(content(std::string("\xf3\x48\xcd\xc9\xc9\x07\x00", 7)) == "Hello");  // final, and nothing behind it
  CHECK(content(std::string("\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00", 14)) == "HelloHello");
  CHECK(content(std::string("\x00", 1)).empty());
  CHECK(content("").empty());
  CHECK(content(std::string("\xf2\x48\xcd\xc9\xc9\x07\x00", 7)) == "Hello");
}

TEST("what is published is compressed once for each window, and again when its number is") {
  SharedCompression shared;
  CompressedPublishCache forms(shared);
  std::string message = words(1000);
  std::string first(*forms.find(1, 15, message));
  // Another message shows that the first one was kept.
  CHECK(*forms.find(1, 15, words(1000)) == first);
  CHECK(*forms.find(1, 9, message) != first);
  CHECK(!forms.find(2, 15, noise(1000)));
  CHECK(!forms.find(2, 15, message));
  forms.clear();
  CHECK(*forms.find(2, 15, message) == first);
  for (std::uint32_t number = 3; number < 3000; number++) {
    CHECK(forms.find(number, 15, words(5000)));  // more than is kept
  }
  CHECK(*forms.find(4000, 15, message) == first);
}

TEST("a message is inflated in steps of any size, with others in between") {
  for (bool takeover : {false, true}) {
    for (std::size_t share : {1u, 7u, 1000u, 100'000u}) {
      SharedCompression shared;
      Compression sender = connection(shared, 15, takeover);
      Compression receiver = connection(shared, 15, takeover);
      Compression other = connection(shared, 15, takeover);
      std::string other_message = words(500);
      std::string compressed_other(sender.compress_fragment(other_message, true));
      CHECK(receiver.decompress(compressed_other, no_limit, no_share).data == other_message);
      for (const std::string &message : {words(30'000), std::string(20'000, 'x'), noise(5000), words(16 * 1024), noise(16 * 1024),
                                         std::string(64 * 1024, 'x')}) {
        std::string compressed(sender.compress_fragment(message, true));
        Inflated step = receiver.decompress(compressed, message.size(), share);
        std::size_t most = step.cost;
        if (step.state == Inflated::State::more) {
          auto rest = receiver.put_off(compressed, 1);
          while (step.state == Inflated::State::more) {
            CHECK(other.decompress(compressed_other, no_limit, no_share).data == other_message);
            step = receiver.decompress(*rest, message.size(), share);
            most = std::max(most, step.cost);
          }
          CHECK(step.state == Inflated::State::whole && step.data == message);
        } else {
          CHECK(step.state == Inflated::State::whole && step.data == message);
        }
        CHECK(most <= 2 * share + 1024);
      }
    }
  }
}

TEST("what a step costs is known of broken, too long and empty messages too") {
  std::string final_blocks;
  for (int i = 0; i < 50'000; i++) {
    final_blocks += std::string("\x03\x00", 2);  // a final block of nothing
  }
  Inflater inflater(15);
  ScratchBuffer out;
  Inflater::Progress progress;
  Inflated step = inflater.inflate(final_blocks, true, no_limit, 1 << 20, out, progress);
  CHECK(step.state == Inflated::State::more);
  CHECK(progress.read < 20'000);
  SharedCompression shared;
  Compression sender = connection(shared, 15, false);
  std::string bomb(sender.compress_fragment(std::string(2 << 20, 'x'), true));
  inflater.reset();
  CHECK(inflate(inflater, bomb, out, 1 << 20).cost >= 1 << 20);
  inflater.reset();
  bomb.resize(bomb.size() - 10);
  CHECK(inflate(inflater, bomb, out).cost >= 1 << 20);
}
