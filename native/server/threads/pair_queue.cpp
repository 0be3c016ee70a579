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

bool PairQueue::drop_oldest() {
  std::unique_ptr<Parcel> oldest;
  {
    std::lock_guard lock(mutex_);
    oldest.reset(claimed_->next.load(std::memory_order_relaxed));
    if (!oldest) {
      return false;
    }
    claimed_->next.store(oldest->next.load(std::memory_order_relaxed), std::memory_order_release);
    if (tail_ == oldest.get()) {
      tail_ = claimed_;
    }
    dropped_ += oldest->entries.size();
  }
  pushed_ -= oldest->cost;
  return true;
}

void PairQueue::drop(std::unique_ptr<Parcel> parcel) {
  std::lock_guard lock(mutex_);
  dropped_ += parcel->entries.size();
}

void PairQueue::claim() {
  std::lock_guard lock(mutex_);
  std::size_t claimed = 0;
  while (Parcel *next = claimed < claim_ ? claimed_->next.load(std::memory_order_acquire) : nullptr) {
    claimed += next->cost;
    claimed_ = next;
  }
  // What the publisher drops from here on comes behind what is claimed.
  lost_ = dropped_;
}

const Parcel::Entry *PairQueue::front() {
  if (head_ == claimed_) {
    // Without the lock while there is nothing to claim.
    if (!has_something()) {
      return nullptr;
    }
    claim();
    if (head_ == claimed_) {
      return nullptr;
    }
  }
  return &head_->next.load(std::memory_order_acquire)->entries[next_entry_];
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
  std::uint64_t lost = lost_ - lost_told_;
  lost_told_ = lost_;
  return lost;
}

void PairQueue::end_of_receiver() {
  // In one order with `push`: what is not seen here is followed by a look at this word, and goes with the
  // queue.
  receiver_gone_.store(true);
  while (front()) {
    pop();
  }
}

}  // namespace nws
