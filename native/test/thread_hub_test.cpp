// The hub between threads. Runs under ThreadSanitizer as well, in a program of its own (CMakeLists.txt).
//
// Long because the tests of one thread and of many use the same members and sinks.
#include "server/threads/thread_hub.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "harness.h"

namespace {

using nws::Arrival;
using nws::HubMember;
using nws::Publication;
using nws::ThreadHub;

constexpr std::size_t plenty = 1 << 30;

/// Writes down what comes: "number:flags:payload", and "lost n".
struct Recorder : nws::ArrivalSink {
  std::vector<std::string> seen;
  std::size_t room = plenty;
  bool on_arrival(const Arrival &arrival) override {
    if (seen.size() >= room) {
      return false;
    }
    seen.push_back(std::to_string(arrival.number) + ":" + std::to_string(arrival.flags) + ":" + std::string(arrival.payload));
    return true;
  }
  void on_lost(std::uint64_t count) override { seen.push_back("lost " + std::to_string(count)); }
};

using Seen = std::vector<std::string>;

struct Fixture {
  std::shared_ptr<ThreadHub> hub = std::make_shared<ThreadHub>();
  std::unique_ptr<HubMember> member(
      std::size_t max_pending = plenty, std::function<void()> wake = [] {}) {
    return std::make_unique<HubMember>(hub, max_pending, std::move(wake));
  }
};

std::size_t publish(HubMember &member, std::string_view topic, std::string_view payload, std::uint32_t flags = 0) {
  Publication one{topic, payload, flags};
  return member.publish(std::span(&one, 1));
}

Seen received(HubMember &member) {
  Recorder recorder;
  CHECK(member.receive(recorder));
  return recorder.seen;
}

/// A thread that has what an event loop has: something to sleep on.
class Sleeper {
 public:
  void wake() {
    std::lock_guard lock(mutex_);
    woken_ = true;
    condition_.notify_one();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    condition_.wait(lock, [this] { return woken_; });
    woken_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool woken_ = false;
};

TEST("a message goes to every other member that wants its topic, and not back") {
  Fixture fixture;
  auto one = fixture.member(), two = fixture.member(), three = fixture.member();
  one->add_interest("a", 1);
  two->add_interest("a", 7);
  three->add_interest("b", 8);
  CHECK(publish(*one, "a", "first", 3) == 1);
  CHECK(publish(*one, "b", "second") == 1);
  CHECK(publish(*one, "c", "third") == 0);
  CHECK(publish(*two, "a", "fourth") == 1);
  CHECK(received(*one) == Seen{"1:0:fourth"});
  CHECK(received(*two) == Seen{"7:3:first"});
  CHECK(received(*three) == Seen{"8:0:second"});
  CHECK(received(*two).empty());
}

TEST("a batch keeps its order, whatever the topics and lengths") {
  Fixture fixture;
  auto from = fixture.member(), to = fixture.member();
  to->add_interest("a", 1);
  to->add_interest("b", 2);
  Seen expected;
  std::vector<std::string> payloads;
  for (int i = 0; i < 2000; i++) {
    payloads.push_back(std::string(i % 7 == 0 ? 3000 : i % 90, static_cast<char>('a' + i % 26)));
  }
  std::vector<Publication> batch;
  for (std::size_t i = 0; i < payloads.size(); i++) {
    batch.push_back({i % 3 == 0 ? "a" : i % 3 == 1 ? "b" : "nobody's", payloads[i], static_cast<std::uint32_t>(i)});
    if (i % 3 != 2) {
      expected.push_back((i % 3 == 0 ? "1:" : "2:") + std::to_string(i) + ":" + payloads[i]);
    }
  }
  CHECK(from->publish(batch) == expected.size());
  CHECK(received(*to) == expected);
}

TEST("interest begins and ends with its call, and with its member") {
  Fixture fixture;
  auto from = fixture.member(), to = fixture.member();
  to->add_interest("a", 1);
  publish(*from, "a", "1");
  to->remove_interest("a");
  CHECK(publish(*from, "a", "2") == 0);
  to->add_interest("a", 2);
  publish(*from, "a", "3");
  CHECK((received(*to) == Seen{"1:0:1", "2:0:3"}));
  CHECK(fixture.hub->topics() == 1);
  publish(*from, "a", "never read");
  to.reset();
  CHECK(fixture.hub->topics() == 0);
  CHECK(publish(*from, "a", "4") == 0);
  // The next member has the same slot.
  to = fixture.member();
  to->add_interest("a", 9);
  CHECK(publish(*from, "a", "5") == 1);
  CHECK(received(*to) == Seen{"9:0:5"});
}

TEST("what a publisher sent arrives although it has left") {
  Fixture fixture;
  auto from = fixture.member(), to = fixture.member();
  to->add_interest("a", 1);
  publish(*from, "a", "last words");
  from.reset();
  CHECK(received(*to) == Seen{"1:0:last words"});
}

TEST("a member is woken when it sleeps, and not while it has something to read") {
  Fixture fixture;
  int woken = 0;
  auto from = fixture.member(), to = fixture.member(plenty, [&woken] { woken++; });
  to->add_interest("a", 1);
  publish(*from, "a", "1");
  CHECK(woken == 1);
  Recorder full;
  full.room = 0;
  CHECK(!to->receive(full));
  publish(*from, "a", "2");
  CHECK(woken == 1);
  CHECK((received(*to) == Seen{"1:0:1", "1:0:2"}));
  publish(*from, "a", "3");
  CHECK(woken == 2);
  publish(*from, "b", "4");
  CHECK(woken == 2);
}

TEST("a sink that is full gets the rest with the next call") {
  Fixture fixture;
  auto one = fixture.member(), two = fixture.member(), to = fixture.member();
  to->add_interest("a", 1);
  for (int i = 0; i < 600; i++) {
    publish(*one, "a", "one");
    publish(*two, "a", "two");
  }
  std::size_t ones = 0, total = 0;
  while (total < 1200) {
    Recorder few;
    few.room = 100;
    bool done = to->receive(few);
    CHECK(!few.seen.empty());
    for (const std::string &line : few.seen) {
      ones += line == "1:0:one";
    }
    total += few.seen.size();
    CHECK(done == (total == 1200));
    // Neither publisher has to wait for the end of the other.
    if (total == 400) {
      CHECK(ones == 200);
    }
  }
  CHECK(ones == 600);
}

TEST("beyond what may wait the oldest is dropped, counted, and told at its place") {
  Fixture fixture;
  auto from = fixture.member(), to = fixture.member(64 * 1024);
  to->add_interest("a", 1);
  std::vector<std::string> payloads;
  std::vector<Publication> batch;
  for (int i = 0; i < 100; i++) {
    payloads.push_back(std::to_string(i) + std::string(8000, 'x'));
  }
  for (const std::string &payload : payloads) {
    batch.push_back({"a", payload, 0});
  }
  auto newest = [&payloads](std::size_t count) {
    Seen seen{"lost " + std::to_string(payloads.size() - count)};
    for (std::size_t i = payloads.size() - count; i < payloads.size(); i++) {
      seen.push_back("1:0:" + payloads[i]);
    }
    return seen;
  };

  // One by one.
  for (const std::string &payload : payloads) {
    CHECK(publish(*from, "a", payload) == 1);
  }
  Seen seen = received(*to);
  CHECK(seen.size() > 6);
  CHECK(seen.size() < 10);
  CHECK(seen == newest(seen.size() - 1));
  publish(*from, "a", "after");
  CHECK(received(*to) == Seen{"1:0:after"});

  // In one batch, of which parcels go.
  CHECK(from->publish(batch) == 100);
  seen = received(*to);
  CHECK(seen.size() > 4);
  CHECK(seen.size() < 10);
  CHECK(seen == newest(seen.size() - 1));

  // What the receiver has begun to read stays, and the loss is told behind it.
  from->publish(std::span(batch).first(6));
  Recorder one;
  one.room = 1;
  CHECK(!to->receive(one));
  CHECK(one.seen == Seen{"1:0:" + payloads[0]});
  from->publish(std::span(batch).subspan(6));
  seen = received(*to);
  std::size_t read = 1;
  while (seen.front() == "1:0:" + payloads[read]) {
    seen.erase(seen.begin());
    read++;
  }
  CHECK(read < 6);
  Seen rest = newest(seen.size() - 1);
  rest.front() = "lost " + std::to_string(payloads.size() - read - (seen.size() - 1));
  CHECK(seen == rest);
}

TEST("what is dropped of many short messages is told with the next one that comes") {
  Fixture fixture;
  auto from = fixture.member(), to = fixture.member(100'000);
  to->add_interest("a", 1);
  for (int i = 0; i < 100'000; i++) {
    publish(*from, "a", "short");
  }
  Seen seen = received(*to);
  CHECK(seen.size() > 400);
  CHECK(seen.size() - 1 <= 100'000 / (sizeof(nws::Parcel) + sizeof(nws::Parcel::Entry)));
  CHECK(seen.front() == "lost " + std::to_string(100'001 - seen.size()));
  CHECK(std::count(seen.begin(), seen.end(), "1:0:short") == static_cast<std::ptrdiff_t>(seen.size() - 1));
  CHECK(received(*to).empty());
}

TEST("the newest message is taken however long it is") {
  Fixture fixture;
  auto from = fixture.member(), to = fixture.member(1000);
  to->add_interest("a", 1);
  std::string payload(1 << 20, 'x');
  CHECK(publish(*from, "a", "x") == 1);
  CHECK(publish(*from, "a", payload) == 1);
  CHECK((received(*to) == Seen{"lost 1", "1:0:" + payload}));
  CHECK(publish(*from, "a", payload) == 1);
  CHECK(publish(*from, "a", "x") == 1);
  CHECK((received(*to) == Seen{"lost 1", "1:0:x"}));
}

TEST("hubs of one name are one hub, and end with their members") {
  std::weak_ptr<ThreadHub> first;
  {
    HubMember one(ThreadHub::named("n"), plenty, [] {}), two(ThreadHub::named("n"), plenty, [] {});
    HubMember other(ThreadHub::named("m"), plenty, [] {});
    first = ThreadHub::named("n");
    two.add_interest("a", 1);
    other.add_interest("a", 1);
    CHECK(publish(one, "a", "x") == 1);
    CHECK(received(two) == Seen{"1:0:x"});
    CHECK(received(other).empty());
  }
  CHECK(first.expired());
}

TEST("a hundred thousand topics are found, and go with their member") {
  Fixture fixture;
  auto from = fixture.member(), to = fixture.member();
  constexpr std::uint32_t count = 100'000;
  for (std::uint32_t i = 0; i < count; i++) {
    to->add_interest("topic/" + std::to_string(i), i);
  }
  CHECK(fixture.hub->topics() == count);
  for (std::uint32_t i = 0; i < count; i += 997) {
    CHECK(publish(*from, "topic/" + std::to_string(i), "x") == 1);
    CHECK(received(*to) == Seen{std::to_string(i) + ":0:x"});
  }
  to.reset();
  CHECK(fixture.hub->topics() == 0);
}

// ---- many threads ----

/// Checks that each publisher's numbers rise without a hole, but for what was said to be lost just before.
struct Checker : nws::ArrivalSink {
  explicit Checker(std::size_t publishers) : next(publishers) {}
  bool on_arrival(const Arrival &arrival) override {
    received++;
    std::uint32_t publisher = arrival.flags >> 24, sequence = arrival.flags & 0xffffff;
    in_order = in_order && sequence >= next[publisher] && arrival.payload == std::to_string(sequence);
    holes += sequence - next[publisher];
    in_order = in_order && holes == lost;
    next[publisher] = sequence + 1;
    return true;
  }
  void on_lost(std::uint64_t count) override { lost += count; }
  std::vector<std::uint32_t> next;
  std::size_t received = 0;
  std::uint64_t lost = 0, holes = 0;
  bool in_order = true;
};

/// Each of `threads` publishes and receives; `max_pending` may be too little.
void everybody_to_everybody(std::size_t threads, std::uint32_t messages, std::size_t max_pending) {
  auto hub = std::make_shared<ThreadHub>();
  std::vector<std::unique_ptr<Checker>> checkers;
  std::atomic<std::size_t> ready{0};
  std::vector<std::thread> running;
  for (std::size_t i = 0; i < threads; i++) {
    checkers.push_back(std::make_unique<Checker>(threads));
  }
  for (std::size_t me = 0; me < threads; me++) {
    running.emplace_back([&, me] {
      Sleeper sleeper;
      HubMember member(hub, max_pending, [&sleeper] { sleeper.wake(); });
      member.add_interest("a", 1);
      ready++;
      while (ready < threads) {
        std::this_thread::yield();
      }
      Checker &checker = *checkers[me];
      std::vector<std::string> payloads(50);
      std::vector<Publication> batch(50);
      for (std::uint32_t sent = 0; sent < messages;) {
        std::size_t count = 1 + sent % 50;
        batch.clear();
        for (std::size_t i = 0; i < count && sent < messages; i++, sent++) {
          payloads[i] = std::to_string(sent);
          batch.push_back({"a", payloads[i], static_cast<std::uint32_t>(me << 24) | sent});
        }
        member.publish(batch);
        if (sent % 3 == 0) {
          member.receive(checker);
        }
      }
      std::size_t due = (threads - 1) * messages;
      while (checker.received + checker.lost < due) {
        if (member.receive(checker) && checker.received + checker.lost < due) {
          sleeper.wait();
        }
      }
    });
  }
  for (std::thread &thread : running) {
    thread.join();
  }
  for (auto &checker : checkers) {
    CHECK(checker->in_order);
    CHECK(checker->received + checker->lost == (threads - 1) * messages);
    CHECK(checker->holes == checker->lost);
  }
}

TEST("four threads publish to one another: everything arrives, in each publisher's order") {
  everybody_to_everybody(4, 20'000, plenty);
}

TEST("where too little may wait, what is missing is what was told") { everybody_to_everybody(4, 20'000, 10'000); }

TEST("members come and go while others publish to them") {
  auto hub = std::make_shared<ThreadHub>();
  std::atomic<bool> stop{false};
  std::vector<std::thread> publishers;
  for (int i = 0; i < 2; i++) {
    publishers.emplace_back([&] {
      HubMember member(hub, plenty, [] {});
      std::string payload(300, 'x');
      std::vector<Publication> batch(20, {"a", payload, 0});
      batch.resize(40, {"b", payload, 0});
      while (!stop) {
        member.publish(batch);
      }
    });
  }
  std::vector<std::thread> passers_by;
  std::atomic<std::size_t> received{0};
  for (int i = 0; i < 2; i++) {
    passers_by.emplace_back([&, i] {
      for (int round = 0; round < 150; round++) {
        Sleeper sleeper;
        HubMember member(hub, 100'000, [&sleeper] { sleeper.wake(); });
        member.add_interest(round % 2 ? "a" : "b", 1);
        sleeper.wait();
        Recorder recorder;
        member.receive(recorder);
        received += recorder.seen.size();
        if ((round + i) % 3 == 0) {
          member.remove_interest(round % 2 ? "a" : "b");
        }
      }
    });
  }
  for (std::thread &thread : passers_by) {
    thread.join();
  }
  stop = true;
  for (std::thread &thread : publishers) {
    thread.join();
  }
  CHECK(received >= 300);
  CHECK(hub->topics() == 0);
}

}  // namespace
