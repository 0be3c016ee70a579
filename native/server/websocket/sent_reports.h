// Which messages of a connection have left: for those whose sender has asked to be told.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>

#include "server/websocket/send_quota.h"
#include "server/websocket/socket_data.h"

namespace nws {

/// Lives on its loop's thread. Costs a connection nothing before its first report.
class SentReports {
 public:
  /// The last frame that was written to the connection ends a message whose end is to be reported.
  void add(SocketData &socket, const SendQuota &quota) {
    ends_[socket.id].push_back(quota.written);
    socket.reports_sent = true;
  }

  /// How many messages have left, with so many bytes of all frames still waiting for the peer. They are
  /// forgotten.
  unsigned take(SocketData &socket, const SendQuota &quota, std::uint32_t waiting) {
    auto found = ends_.find(socket.id);
    unsigned count = 0;
    if (found != ends_.end()) {
      // What was written behind a message is all that may wait when the message has left.
      for (; !found->second.empty() && waiting <= quota.written - found->second.front(); count++) {
        found->second.pop_front();
      }
      if (found->second.empty()) {
        forget(socket);
      }
    }
    return count;
  }

  /// The connection has ended.
  void forget(SocketData &socket) {
    ends_.erase(socket.id);
    socket.reports_sent = false;
  }

 private:
  /// SendQuota::written behind each message, in their order.
  std::unordered_map<ConnectionId, std::deque<std::uint32_t>> ends_;
};

}  // namespace nws
