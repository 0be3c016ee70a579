// How often each latency occurred: 128 steps for each power of two, so that a value is off by less than one
// percent.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace load {

class Histogram {
 public:
  void record(std::uint64_t nanoseconds) {
    counts_[index_of(nanoseconds)]++;
    total_++;
    sum_ += nanoseconds;
    max_ = std::max(max_, nanoseconds);
  }

  /// The value that `share` (0 to 1) of all values do not exceed; 0 when there are none.
  std::uint64_t quantile(double share) const {
    auto rank = static_cast<std::uint64_t>(share * static_cast<double>(total_) + 0.5);
    rank = std::clamp<std::uint64_t>(rank, 1, std::max<std::uint64_t>(total_, 1));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); i++) {
      seen += counts_[i];
      if (seen >= rank) {
        return std::min(upper_end(i), max_);
      }
    }
    return max_;
  }

  std::uint64_t count() const { return total_; }
  std::uint64_t max() const { return max_; }
  double mean() const { return total_ ? static_cast<double>(sum_) / static_cast<double>(total_) : 0; }

 private:
  static constexpr unsigned step_bits = 7;
  static constexpr std::uint64_t steps = 1u << step_bits;

  /// Values below `steps` have a place of their own; above, the leading `step_bits` + 1 bits decide.
  static std::size_t index_of(std::uint64_t value) {
    if (value < steps) {
      return value;
    }
    unsigned shift = static_cast<unsigned>(std::bit_width(value)) - 1 - step_bits;
    return (static_cast<std::size_t>(shift) + 1) * steps + ((value >> shift) - steps);
  }
  static std::uint64_t upper_end(std::size_t index) {
    if (index < steps) {
      return index;
    }
    std::size_t shift = index / steps - 1;
    return ((steps + index % steps + 1) << shift) - 1;
  }

  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>((64 - step_bits + 1) * steps);
  std::uint64_t total_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace load
