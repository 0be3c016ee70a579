#include <algorithm>
#include <utility>

#include "thread_hub.h"

namespace nws {

namespace {

/// A parcel goes on its way with so many messages or bytes: the receiver begins while the publisher goes on,
/// and gives back in such steps what it was charged for.
constexpr std::size_t max_parcel_entries = 256;
constexpr std::size_t max_parcel_cost = 64 * 1024;

/// A drop takes a parcel: of little that may wait, not all of it.
std::size_t largest_parcel(const HubInbox &inbox) { return std::min(max_parcel_cost, inbox.max_pending / 4); }

}  // namespace

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
      append(link, {block_, payload, static_cast<std::uint32_t>(publication.payload.length()), target.number, publication.flags});
      queued++;
    }
  }
  for (std::uint32_t slot : touched_) {
    Link &link = *links_[slot];
    link.touched = false;
    send_parcel(link);
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
  if (!next->inbox) {
    return nullptr;
  }
  next->queue = std::make_shared<PairQueue>(largest_parcel(*next->inbox));
  if (!next->inbox->connect(next->queue)) {
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

void HubMember::append(Link &link, const Parcel::Entry &entry) {
  if (!link.touched) {
    link.touched = true;
    touched_.push_back(link.inbox->slot);
  }
  std::size_t cost = sizeof(Parcel::Entry) + (link.charged_block == block_number_ ? 0 : entry.block->cost());
  if (link.queue->pending() + (link.parcel ? link.parcel->cost : 0) + cost > link.inbox->max_pending) {
    make_room(link, cost);
  }
  if (!link.parcel) {
    link.parcel = std::make_unique<Parcel>();
  }
  Parcel &parcel = *link.parcel;
  if (parcel.entries.empty() || parcel.entries.back().block != entry.block) {
    entry.block->retain();
  }
  link.charged_block = block_number_;
  parcel.cost += cost;
  parcel.entries.push_back(entry);
  if (parcel.entries.size() == max_parcel_entries || parcel.cost > largest_parcel(*link.inbox)) {
    send_parcel(link);
    link.inbox->wake_if_asleep();
  }
}

void HubMember::make_room(Link &link, std::size_t cost) {
  std::size_t kept = link.parcel ? link.parcel->cost : 0;
  bool fits = false;
  do {
    fits = link.queue->pending() + kept + cost <= link.inbox->max_pending;
  } while (!fits && link.queue->drop_oldest());
  // Beside what the receiver is reading there is no older message. The new one is always taken, however long.
  if (!fits && link.parcel) {
    link.queue->drop(std::move(link.parcel));
  }
}

void HubMember::send_parcel(Link &link) {
  if (link.parcel) {
    link.queue->push(link.parcel.release());
  }
}

}  // namespace nws
