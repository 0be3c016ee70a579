// What can be done with the topics of one server, whether it speaks TLS or not.
#pragma once

#include <cstddef>
#include <string_view>

#include "server/websocket/compression.h"
#include "server/websocket/op_code.h"
#include "server/websocket/socket_data.h"

namespace nws {

/// Implemented by each server. What one connection subscribes to: see ConnectionOwner. All of it on the
/// loop's thread, outside of events.
class Topics {
 public:
  /// To every subscriber but `except` (0: to all). False when there was none. A subscriber whose queue is
  /// full misses it.
  virtual bool publish(std::string_view topic, std::string_view payload, OpCode op_code, ConnectionId except,
                       Compress compress = Compress::by_size) = 0;
  virtual std::size_t subscribers(std::string_view topic) = 0;
  /// Writes what was published since the last time.
  virtual void flush() = 0;

 protected:
  ~Topics() = default;
};

}  // namespace nws
