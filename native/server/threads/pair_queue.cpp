#include "pair_queue.h"

#include <cstring>

namespace nws {

const char *PayloadBlock::append(std::string_view payload) {
  char *place = bytes() + used_;
  if (!payload.empty()) {
    std::memcpy(place, payload.data(), payload.length());
  }
  used_ += payload.length();
  return place;
}

void Parcel::release_before(std::size_t end) {
  for (; released_ < end; released_++) {
    PayloadBlock *block = entries[released_].block;
    if (released_ + 1 == entries.size() || entries[released_ + 1].block != block) {
      block->release();
    }
  }
}

PairQueue::~PairQueue() {
  while (head_) {
    Parcel *next = head_->next.load(std::memory_order_acquire);
    delete head_;
    head_ = next;
  }
}

void PairQueue::push(Parcel *parcel) {
  pushed_ += parcel->cost;
  // Sequentially consistent, as is the look at whether the receiver sleeps that follows: one of the two sees
  // what the other has done.
  tail_->next.store(parcel);
  tail_ = parcel;
}

const Parcel::Entry *PairQueue::front() {
  Parcel *parcel = head_->next.load(std::memory_order_acquire);
  return parcel ? &parcel->entries[next_entry_] : nullptr;
}

void PairQueue::pop() {
  Parcel *parcel = head_->next.load(std::memory_order_acquire);
  parcel->release_before(++next_entry_);
  if (next_entry_ < parcel->entries.size()) {
    return;
  }
  // The parcel stays as the head, since the publisher may be about to put the next one behind it.
  taken_.store(taken_.load(std::memory_order_relaxed) + parcel->cost, std::memory_order_release);
  std::vector<Parcel::Entry>().swap(parcel->entries);
  next_entry_ = 0;
  delete head_;
  head_ = parcel;
}

std::uint64_t PairQueue::take_lost() {
  // In this order: a parcel that is pushed in between has the count in it, and the rest is told with it.
  std::uint64_t dropped = dropped_.load();
  if (Parcel *parcel = head_->next.load()) {
    dropped = parcel->dropped_before;
  }
  std::uint64_t lost = dropped > lost_told_ ? dropped - lost_told_ : 0;
  lost_told_ += lost;
  return lost;
}

bool PairQueue::has_something() const { return head_->next.load() || dropped_.load() != lost_told_; }

void PairQueue::end_of_receiver() {
  // In one order with `push`: what is not seen here is followed by a look at this word, and goes with the
  // queue.
  receiver_gone_.store(true);
  while (head_->next.load()) {
    pop();
  }
}

}  // namespace nws
