#include "thread_hub.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace nws {

namespace {

/// A parcel goes on its way with so many messages or bytes: the receiver begins while the publisher goes on,
/// and gives back in such steps what it was charged for.
constexpr std::size_t max_parcel_entries = 256;
constexpr std::size_t max_parcel_cost = 64 * 1024;

}  // namespace

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
    while (true) {
      if (std::uint64_t lost = queue.take_lost()) {
        sink.on_lost(lost);
      }
      const Parcel::Entry *entry = queue.front();
      if (!entry) {
        break;
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

// ---- HubMember ----

HubMember::HubMember(std::shared_ptr<ThreadHub> hub, std::size_t max_pending, std::function<void()> wake)
    : hub_(std::move(hub)), inbox_(hub_->join(max_pending, std::move(wake))) {}

HubMember::~HubMember() {
  hub_->leave(*inbox_);
  inbox_->close();
  for (auto &link : links_) {
    if (link && link->queue) {
      link->queue->end_of_publisher();
    }
  }
  if (block_) {
    block_->release();
  }
}

void HubMember::add_interest(std::string_view topic, std::uint32_t number) {
  hub_->add_interest(topic, {inbox_->serial, inbox_->slot, number});
}

void HubMember::remove_interest(std::string_view topic) { hub_->remove_interest(topic, inbox_->serial); }

std::size_t HubMember::publish(std::span<const Publication> batch) {
  std::size_t queued = 0;
  std::string_view resolved;
  targets_.clear();
  for (const Publication &publication : batch) {
    if (&publication == batch.data() || publication.topic != resolved) {
      resolved = publication.topic;
      resolve(resolved);
    }
    if (targets_.empty()) {
      continue;
    }
    const char *payload = store(publication.payload);
    for (const Target &target : targets_) {
      Link &link = *links_[target.slot];
      queued += append(
          link, {block_, payload, static_cast<std::uint32_t>(publication.payload.length()), target.number, publication.flags});
    }
  }
  for (std::uint32_t slot : touched_) {
    Link &link = *links_[slot];
    link.touched = false;
    send_parcel(link);
    // Also when nothing was sent: the receiver is to hear of what was dropped.
    link.inbox->wake_if_asleep();
    if (link.queue->is_receiver_gone()) {
      links_[slot].reset();
    }
  }
  touched_.clear();
  return queued;
}

void HubMember::resolve(std::string_view topic) {
  hub_->interests_in(topic, interests_);
  targets_.clear();
  for (const ThreadHub::Interest &interest : interests_) {
    if (interest.serial != inbox_->serial && link_to(interest)) {
      targets_.push_back({interest.slot, interest.number});
    }
  }
}

HubMember::Link *HubMember::link_to(const ThreadHub::Interest &interest) {
  if (interest.slot >= links_.size()) {
    links_.resize(interest.slot + 1);
  }
  std::unique_ptr<Link> &link = links_[interest.slot];
  if (link && link->inbox->serial == interest.serial) {
    return link.get();
  }
  if (link && link->touched) {
    // A member has left and another has its slot, in the middle of a batch: this one is served by the next.
    return nullptr;
  }
  auto next = std::make_unique<Link>();
  next->inbox = hub_->find(interest.slot, interest.serial);
  next->queue = std::make_shared<PairQueue>();
  if (!next->inbox || !next->inbox->connect(next->queue)) {
    return nullptr;
  }
  link = std::move(next);
  return link.get();
}

const char *HubMember::store(std::string_view payload) {
  if (!block_ || block_->room() < payload.length()) {
    if (block_) {
      block_->release();
    }
    block_ =
        PayloadBlock::make(payload.length() > PayloadBlock::longest_shared ? payload.length() : PayloadBlock::usual_capacity);
    block_number_++;
  }
  return block_->append(payload);
}

bool HubMember::append(Link &link, const Parcel::Entry &entry) {
  if (!link.touched) {
    link.touched = true;
    touched_.push_back(link.inbox->slot);
  }
  std::size_t cost = sizeof(Parcel::Entry) + (link.charged_block == block_number_ ? 0 : entry.block->cost());
  std::size_t pending = link.queue->pending() + (link.parcel ? link.parcel->cost : 0);
  // One message is always taken, however long it is.
  if (pending > 0 && pending + cost > link.inbox->max_pending) {
    if (link.parcel) {
      send_parcel(link);
    }
    link.queue->count_dropped();
    return false;
  }
  if (!link.parcel) {
    link.parcel = std::make_unique<Parcel>();
    link.parcel->dropped_before = link.queue->dropped();
  }
  Parcel &parcel = *link.parcel;
  if (parcel.entries.empty() || parcel.entries.back().block != entry.block) {
    entry.block->retain();
  }
  link.charged_block = block_number_;
  parcel.cost += cost;
  parcel.entries.push_back(entry);
  if (parcel.entries.size() == max_parcel_entries || parcel.cost > std::min(max_parcel_cost, link.inbox->max_pending / 4)) {
    send_parcel(link);
    link.inbox->wake_if_asleep();
  }
  return true;
}

void HubMember::send_parcel(Link &link) {
  if (link.parcel) {
    link.queue->push(link.parcel.release());
  }
}

}  // namespace nws
