// A buffer for what is compressed or inflated.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

namespace nws {

/// Memory that is used again and again, and not initialised.
class ScratchBuffer {
 public:
  ScratchBuffer() = default;
  /// What was moved from is empty.
  ScratchBuffer(ScratchBuffer &&other) noexcept : memory_(std::move(other.memory_)), size_(std::exchange(other.size_, 0)) {}
  ScratchBuffer &operator=(ScratchBuffer &&other) noexcept {
    memory_ = std::move(other.memory_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  char *data() { return memory_.get(); }
  std::size_t size() const { return size_; }
  /// Makes room for so many bytes, and keeps the first `used` ones.
  void grow(std::size_t size, std::size_t used) {
    if (size <= size_) {
      return;
    }
    auto larger = std::make_unique_for_overwrite<char[]>(size);
    if (used > 0) {
      std::memcpy(larger.get(), memory_.get(), used);
    }
    memory_ = std::move(larger);
    size_ = size;
  }
  /// To be called when the content has been used: gives back the memory that a large message took.
  void trim() {
    if (size_ > max_kept) {
      memory_.reset();
      size_ = 0;
    }
  }

 private:
  /// Bytes of one that is kept.
  static constexpr std::size_t max_kept = 256 * 1024;

  std::unique_ptr<char[]> memory_;
  std::size_t size_ = 0;
};

}  // namespace nws
