// What one thread has published for another: parcels of messages, whose bytes lie in blocks that all
// receivers share. One thread adds and another takes; each shared word has one writer.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
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
  /// Charged to the queue until the parcel has been taken, or dropped.
  std::size_t cost = sizeof(Parcel);
  std::atomic<Parcel *> next{nullptr};

 private:
  std::size_t released_ = 0;
};

/// Parcels that the receiver has claimed are its own; the others are still the publisher's, who can drop
/// them. A lock keeps the two apart where one of them moves that border, which is once for many parcels, and
/// never where parcels are added.
class PairQueue {
 public:
  /// `claim` is how much the receiver claims at a time, in bytes.
  explicit PairQueue(std::size_t claim) : tail_(new Parcel), claim_(claim), head_(tail_), claimed_(tail_) {}
  PairQueue(const PairQueue &) = delete;
  PairQueue &operator=(const PairQueue &) = delete;
  ~PairQueue();

  // ---- the publisher's ----

  /// Bytes that the receiver has not taken yet.
  std::size_t pending() const { return pushed_ - taken_.load(std::memory_order_acquire); }
  /// Takes the parcel over.
  void push(Parcel *parcel);
  /// Drops the oldest parcel that the receiver has not claimed, and counts its messages. False where there is
  /// none. A parcel is to be pushed afterwards: with it the receiver hears of the loss.
  bool drop_oldest();
  /// The same with a parcel that was not pushed: all older ones are dropped, or claimed.
  void drop(std::unique_ptr<Parcel> parcel);
  bool is_receiver_gone() const { return receiver_gone_.load(); }
  void end_of_publisher() { publisher_gone_.store(true, std::memory_order_release); }

  // ---- the receiver's ----

  /// The oldest entry that was not taken; null when there is none.
  const Parcel::Entry *front();
  void pop();
  /// How many messages were dropped between the last entry taken and `front`, which is asked first. Each is
  /// told once.
  std::uint64_t take_lost();
  /// Whether `front` has something, in one order with the publisher's look at whether the receiver sleeps.
  bool has_something() const { return head_->next.load(); }
  bool is_publisher_gone() const { return publisher_gone_.load(std::memory_order_acquire); }
  /// What waits is freed. What the publisher adds before it notices goes with the queue.
  void end_of_receiver();

 private:
  void claim();

  // The publisher's cache line.
  alignas(64) Parcel *tail_;
  /// Bytes of what was pushed, but for what was dropped.
  std::size_t pushed_ = 0;
  std::atomic<bool> publisher_gone_{false};

  alignas(64) std::mutex mutex_;
  /// Guarded by the mutex.
  std::uint64_t dropped_ = 0;

  // The receiver's: `head_` has been taken, its successor is the front.
  alignas(64) const std::size_t claim_;
  Parcel *head_;
  /// The last parcel that the receiver has claimed. Written under the mutex; the publisher reads it there.
  Parcel *claimed_;
  std::size_t next_entry_ = 0;
  std::uint64_t lost_ = 0, lost_told_ = 0;
  std::atomic<std::size_t> taken_{0};
  std::atomic<bool> receiver_gone_{false};
};

}  // namespace nws
