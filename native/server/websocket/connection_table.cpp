#include "server/websocket/connection_table.h"

namespace nws {

ConnectionId ConnectionTable::reserve(const Route &route, const ConnectionLimits &limits) {
  std::uint32_t slot;
  if (!free_.empty()) {
    slot = free_.back();
    free_.pop_back();
  } else if (slots_.size() <= capacity) {
    slot = static_cast<std::uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    return 0;
  }
  Slot &taken = slots_[slot];
  taken.entry = {nullptr, &route};
  ConnectionId id = make_id(slot, taken.generation);
  quotas_[slot] = SendQuota{.buffered = 0,
                            .pending = 0,
                            .limit = limits.max_backpressure,
                            .drain_owed = 0,
                            .id = id,
                            .low_threshold = 0,
                            .fragment = limits.max_fragment_length,
                            .written = 0};
  return id;
}

void ConnectionTable::close(ConnectionId id) {
  if (find(id)) {
    std::uint32_t slot = id & slot_mask;
    slots_[slot].entry = {};
    quotas_[slot] = SendQuota{};
  }
}

void ConnectionTable::release(ConnectionId id) {
  close(id);
  std::uint32_t slot = id & slot_mask;
  slots_[slot].generation++;
  free_.push_back(slot);
}

const ConnectionTable::Entry *ConnectionTable::find(ConnectionId id) const {
  std::uint32_t slot = id & slot_mask;
  if (slot >= slots_.size()) {
    return nullptr;
  }
  const Slot &candidate = slots_[slot];
  return candidate.entry.socket && make_id(slot, candidate.generation) == id ? &candidate.entry : nullptr;
}

}  // namespace nws
