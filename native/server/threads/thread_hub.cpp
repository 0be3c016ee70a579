#include "thread_hub.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace nws {

// ---- HubInbox ----

bool HubInbox::connect(const std::shared_ptr<PairQueue> &queue) {
  std::lock_guard lock(mutex_);
  if (closed_) {
    return false;
  }
  new_queues_.push_back(queue);
  has_new_queues_.store(true);
  return true;
}

void HubInbox::wake_if_asleep() {
  if (asleep_.load()) {
    std::lock_guard lock(mutex_);
    if (wake_) {
      wake_();
    }
  }
}

void HubInbox::close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    wake_ = nullptr;
  }
  take_new_queues();
  for (auto &queue : queues_) {
    queue->end_of_receiver();
  }
  queues_.clear();
}

void HubInbox::take_new_queues() {
  if (has_new_queues_.load()) {
    std::lock_guard lock(mutex_);
    has_new_queues_.store(false);
    queues_.insert(queues_.end(), new_queues_.begin(), new_queues_.end());
    new_queues_.clear();
  }
}

bool HubInbox::receive(ArrivalSink &sink) {
  asleep_.store(false);
  take_new_queues();
  // Each time another publisher comes first: a full sink is no advantage for the same one always.
  first_ = queues_.empty() ? 0 : (first_ + 1) % queues_.size();
  bool ended = false;
  for (std::size_t i = 0; i < queues_.size(); i++) {
    PairQueue &queue = *queues_[(first_ + i) % queues_.size()];
    // Asked first: what the publisher has pushed before its end is then seen below.
    bool publisher_gone = queue.is_publisher_gone();
    while (const Parcel::Entry *entry = queue.front()) {
      if (std::uint64_t lost = queue.take_lost()) {
        sink.on_lost(lost);
      }
      if (!sink.on_arrival({entry->number, entry->flags, {entry->payload, entry->length}})) {
        return false;
      }
      queue.pop();
    }
    ended = ended || publisher_gone;
  }
  if (ended) {
    std::erase_if(queues_, [](const auto &queue) { return queue->is_publisher_gone() && !queue->has_something(); });
  }
  asleep_.store(true);
  bool more = has_new_queues_.load() ||
              std::any_of(queues_.begin(), queues_.end(), [](const auto &queue) { return queue->has_something(); });
  if (more) {
    asleep_.store(false);
  }
  return !more;
}

// ---- ThreadHub ----

std::shared_ptr<ThreadHub> ThreadHub::named(const std::string &name) {
  // Never destroyed: threads may still be leaving while the process exits.
  static auto &mutex = *new std::mutex;
  static auto &hubs = *new std::unordered_map<std::string, std::weak_ptr<ThreadHub>>;
  std::lock_guard lock(mutex);
  std::erase_if(hubs, [](const auto &entry) { return entry.second.expired(); });
  std::shared_ptr<ThreadHub> hub = hubs[name].lock();
  if (!hub) {
    hub = std::make_shared<ThreadHub>();
    hubs[name] = hub;
  }
  return hub;
}

std::shared_ptr<HubInbox> ThreadHub::join(std::size_t max_pending, std::function<void()> wake) {
  std::lock_guard lock(members_mutex_);
  auto place = std::find(members_.begin(), members_.end(), nullptr);
  if (place == members_.end()) {
    place = members_.insert(place, nullptr);
  }
  auto slot = static_cast<std::uint32_t>(place - members_.begin());
  *place = std::make_shared<HubInbox>(slot, ++last_serial_, max_pending, std::move(wake));
  return *place;
}

void ThreadHub::leave(const HubInbox &inbox) {
  for (Shard &shard : shards_) {
    std::lock_guard lock(shard.mutex);
    for (auto topic = shard.topics.begin(); topic != shard.topics.end();) {
      std::erase_if(topic->second, [&inbox](const Interest &one) { return one.serial == inbox.serial; });
      topic = topic->second.empty() ? shard.topics.erase(topic) : std::next(topic);
    }
  }
  std::lock_guard lock(members_mutex_);
  members_[inbox.slot].reset();
}

std::shared_ptr<HubInbox> ThreadHub::find(std::uint32_t slot, std::uint64_t serial) {
  std::lock_guard lock(members_mutex_);
  const std::shared_ptr<HubInbox> &member = members_[slot];
  return member && member->serial == serial ? member : nullptr;
}

void ThreadHub::add_interest(std::string_view topic, const Interest &interest) {
  Shard &shard = shard_of(topic);
  std::lock_guard lock(shard.mutex);
  auto found = shard.topics.find(topic);
  if (found == shard.topics.end()) {
    found = shard.topics.emplace(topic, std::vector<Interest>()).first;
  }
  found->second.push_back(interest);
}

void ThreadHub::remove_interest(std::string_view topic, std::uint64_t serial) {
  Shard &shard = shard_of(topic);
  std::lock_guard lock(shard.mutex);
  auto found = shard.topics.find(topic);
  if (found != shard.topics.end()) {
    std::erase_if(found->second, [serial](const Interest &one) { return one.serial == serial; });
    if (found->second.empty()) {
      shard.topics.erase(found);
    }
  }
}

void ThreadHub::interests_in(std::string_view topic, std::vector<Interest> &interests) {
  Shard &shard = shard_of(topic);
  std::lock_guard lock(shard.mutex);
  auto found = shard.topics.find(topic);
  if (found == shard.topics.end()) {
    interests.clear();
  } else {
    interests = found->second;
  }
}

std::size_t ThreadHub::topics() {
  std::size_t count = 0;
  for (Shard &shard : shards_) {
    std::lock_guard lock(shard.mutex);
    count += shard.topics.size();
  }
  return count;
}

}  // namespace nws
