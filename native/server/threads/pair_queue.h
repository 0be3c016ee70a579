// What one thread has published for another: parcels of messages, whose bytes lie in blocks that all
// receivers share. One thread adds and another takes; each shared word has one writer.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string_view>
#include <vector>

namespace nws {

/// Memory for the bytes of messages, counted by reference: of several short messages or of one long one. Its
/// publisher writes behind what others may be reading already.
class PayloadBlock {
 public:
  /// Bytes of a block for short messages: 40 messages of 100 bytes share an allocation and a count. A
  /// receiver that wants one of them holds the others as well, and is charged for the block.
  static constexpr std::size_t usual_capacity = 4096;
  /// Longer messages have a block of their own.
  static constexpr std::size_t longest_shared = usual_capacity / 2;

  /// With one reference, the caller's.
  static PayloadBlock *make(std::size_t capacity) {
    void *memory = ::operator new(sizeof(PayloadBlock) + capacity);
    return new (memory) PayloadBlock(capacity);
  }
  PayloadBlock(const PayloadBlock &) = delete;
  PayloadBlock &operator=(const PayloadBlock &) = delete;

  void retain() { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      this->~PayloadBlock();
      ::operator delete(this);
    }
  }
  char *bytes() { return reinterpret_cast<char *>(this + 1); }
  /// What the block takes of memory.
  std::size_t cost() const { return sizeof(PayloadBlock) + capacity_; }
  std::size_t room() const { return capacity_ - used_; }
  /// Gives the place of what was copied. The publisher's call alone.
  const char *append(std::string_view payload);

 private:
  explicit PayloadBlock(std::size_t capacity) : capacity_(capacity) {}
  ~PayloadBlock() = default;

  std::atomic<std::uint32_t> references_{1};
  const std::size_t capacity_;
  std::size_t used_ = 0;
};

/// Messages of one publisher for one receiver, in order. Refers once to each block in it.
struct Parcel {
  struct Entry {
    PayloadBlock *block;
    const char *payload;
    std::uint32_t length;
    /// What the receiver calls the topic.
    std::uint32_t number;
    std::uint32_t flags;
  };

  Parcel() = default;
  Parcel(const Parcel &) = delete;
  Parcel &operator=(const Parcel &) = delete;
  /// Gives back the blocks that were not given back by `release_before`.
  ~Parcel() { release_before(entries.size()); }
  /// Gives back the blocks that no entry from `end` on lies in.
  void release_before(std::size_t end);

  std::vector<Entry> entries;
  /// Charged to the queue until the parcel has been taken.
  std::size_t cost = sizeof(Parcel);
  /// Messages that the queue had dropped by the time the parcel was begun.
  std::uint64_t dropped_before = 0;
  std::atomic<Parcel *> next{nullptr};

 private:
  std::size_t released_ = 0;
};

class PairQueue {
 public:
  PairQueue() : tail_(new Parcel), head_(tail_) {}
  PairQueue(const PairQueue &) = delete;
  PairQueue &operator=(const PairQueue &) = delete;
  ~PairQueue();

  // ---- the publisher's ----

  /// Bytes that the receiver has not taken yet.
  std::size_t pending() const { return pushed_ - taken_.load(std::memory_order_acquire); }
  /// Takes the parcel over.
  void push(Parcel *parcel);
  void count_dropped() { dropped_.store(dropped_.load(std::memory_order_relaxed) + 1); }
  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  bool is_receiver_gone() const { return receiver_gone_.load(); }
  void end_of_publisher() { publisher_gone_.store(true, std::memory_order_release); }

  // ---- the receiver's ----

  /// The oldest entry that was not taken; null when there is none.
  const Parcel::Entry *front();
  void pop();
  /// How many messages were dropped between the last entry taken and `front`, or behind everything when the
  /// queue is empty. Each is told once.
  std::uint64_t take_lost();
  /// Whether `front` or `take_lost` has something, in one order with the publisher's look at whether the
  /// receiver sleeps.
  bool has_something() const;
  bool is_publisher_gone() const { return publisher_gone_.load(std::memory_order_acquire); }
  /// What waits is freed. What the publisher adds before it notices goes with the queue.
  void end_of_receiver();

 private:
  // The publisher's cache line.
  alignas(64) Parcel *tail_;
  std::size_t pushed_ = 0;
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<bool> publisher_gone_{false};

  // The receiver's: `head_` has been taken, its successor is the front.
  alignas(64) Parcel *head_;
  std::size_t next_entry_ = 0;
  std::uint64_t lost_told_ = 0;
  std::atomic<std::size_t> taken_{0};
  std::atomic<bool> receiver_gone_{false};
};

}  // namespace nws
