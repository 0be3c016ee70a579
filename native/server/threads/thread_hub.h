// Publishing between the threads of one process: which members want which topics, and a queue for each pair
// of members. Knows neither Node nor µWebSockets.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pair_queue.h"

namespace nws {

/// What a member publishes. The views are read during the call only.
struct Publication {
  std::string_view topic;
  std::string_view payload;
  /// Of the member's own meaning; arrives as it is.
  std::uint32_t flags = 0;
};

/// What a member receives. The payload is valid during the call only.
struct Arrival {
  /// What `add_interest` called the topic.
  std::uint32_t number;
  std::uint32_t flags;
  std::string_view payload;
};

class ArrivalSink {
 public:
  virtual ~ArrivalSink() = default;
  /// False when there is no room: the message comes again with the next `receive`.
  virtual bool on_arrival(const Arrival &arrival) = 0;
  /// So many messages were dropped, the oldest of those that waited, because they were more than
  /// `max_pending`: between what came before and what comes next of the same publisher.
  virtual void on_lost(std::uint64_t count) = 0;
};

/// The receiving end of a member, which publishers on other threads hold on to: it may outlive the member.
class HubInbox {
 public:
  HubInbox(std::uint32_t slot, std::uint64_t serial, std::size_t max_pending, std::function<void()> wake)
      : slot(slot), serial(serial), max_pending(max_pending), wake_(std::move(wake)) {}

  /// False after `close`.
  bool connect(const std::shared_ptr<PairQueue> &queue);
  /// A publisher's call, after each push.
  void wake_if_asleep();
  /// From here on, nothing is added and no member is woken: when it returns, no call of `wake` is running.
  void close();
  /// The member's call. False when the sink was full, or something came meanwhile: `receive` is to be called
  /// again, and `wake` is not called until then.
  bool receive(ArrivalSink &sink);

  const std::uint32_t slot;
  /// Slots are used again, serials are not.
  const std::uint64_t serial;
  const std::size_t max_pending;

 private:
  void take_new_queues();

  /// Written by the member alone. Nothing waits while it is set, but for what is being pushed right now.
  std::atomic<bool> asleep_{true};
  std::atomic<bool> has_new_queues_{false};
  std::mutex mutex_;
  // Guarded by the mutex.
  std::function<void()> wake_;
  std::vector<std::shared_ptr<PairQueue>> new_queues_;
  bool closed_ = false;
  // The member's own.
  std::vector<std::shared_ptr<PairQueue>> queues_;
  std::size_t first_ = 0;
};

/// One for each name in the process, as long as it has members. Any thread may call.
class ThreadHub {
 public:
  static std::shared_ptr<ThreadHub> named(const std::string &name);

  struct Interest {
    std::uint64_t serial;
    std::uint32_t slot;
    std::uint32_t number;
  };

  std::shared_ptr<HubInbox> join(std::size_t max_pending, std::function<void()> wake);
  void leave(const HubInbox &inbox);
  /// Null when the member has left.
  std::shared_ptr<HubInbox> find(std::uint32_t slot, std::uint64_t serial);

  void add_interest(std::string_view topic, const Interest &interest);
  void remove_interest(std::string_view topic, std::uint64_t serial);
  /// Replaces what is in `found`.
  void interests_in(std::string_view topic, std::vector<Interest> &found);
  /// Topics that some member wants.
  std::size_t topics();

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  /// Threads that publish to different topics hardly ever meet at a mutex.
  struct alignas(64) Shard {
    std::mutex mutex;
    std::unordered_map<std::string, std::vector<Interest>, Hash, std::equal_to<>> topics;
  };
  static constexpr std::size_t shard_count = 64;

  Shard &shard_of(std::string_view topic) { return shards_[(Hash()(topic) >> 7) % shard_count]; }

  std::array<Shard, shard_count> shards_;
  std::mutex members_mutex_;
  std::vector<std::shared_ptr<HubInbox>> members_;
  std::uint64_t last_serial_ = 0;
};

/// A server's place in a hub. All calls come from one thread, its own.
class HubMember {
 public:
  /// `wake` is called on other threads, while the member sleeps: from the beginning, and from when `receive`
  /// has returned true. `max_pending` is what may wait for this member of each other member, in bytes.
  HubMember(std::shared_ptr<ThreadHub> hub, std::size_t max_pending, std::function<void()> wake);
  HubMember(const HubMember &) = delete;
  HubMember &operator=(const HubMember &) = delete;
  ~HubMember();

  /// Once for each topic. From the return of this call on, what others publish arrives here under this
  /// number.
  void add_interest(std::string_view topic, std::uint32_t number);
  /// What was published before may still arrive.
  void remove_interest(std::string_view topic);
  /// Gives each message to all other members that want its topic, in order, without ever waiting for them.
  /// Gives how many messages were put into queues.
  std::size_t publish(std::span<const Publication> batch);
  /// As HubInbox::receive.
  bool receive(ArrivalSink &sink) { return inbox_->receive(sink); }

 private:
  /// The way to another member.
  struct Link {
    std::shared_ptr<HubInbox> inbox;
    std::shared_ptr<PairQueue> queue;
    std::unique_ptr<Parcel> parcel;
    /// The block that the queue was charged for last, by its number.
    std::uint64_t charged_block = 0;
    bool touched = false;
  };
  struct Target {
    std::uint32_t slot;
    std::uint32_t number;
  };

  void resolve(std::string_view topic);
  Link *link_to(const ThreadHub::Interest &interest);
  const char *store(std::string_view payload);
  void append(Link &link, const Parcel::Entry &entry);
  /// Drops the oldest messages until there is room for so many bytes.
  void make_room(Link &link, std::size_t cost);
  void send_parcel(Link &link);

  std::shared_ptr<ThreadHub> hub_;
  std::shared_ptr<HubInbox> inbox_;
  /// By slot.
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<std::uint32_t> touched_;
  PayloadBlock *block_ = nullptr;
  std::uint64_t block_number_ = 0;
  // Of `resolve`, kept for their memory.
  std::vector<ThreadHub::Interest> interests_;
  std::vector<Target> targets_;
};

}  // namespace nws
