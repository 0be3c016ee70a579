// The order of published and sent messages of one connection: they leave in the order of the calls.
//
// A short published message waits in the topic tree until the end of the turn. Whatever is written to a
// connection past the tree has what waits in the tree for this connection written first: Sending before each
// message, Publishing before a long one. Commands that JavaScript gave before a `publish` are carried out
// before it (native/binding/server_wrap.cpp).
#pragma once

#include "server/uws/upstream.h"
#include "server/websocket/socket_data.h"

namespace nws {

/// Lives on its loop's thread. `set_tree` comes before everything else.
class PublishOrder {
 public:
  void set_tree(TopicTree *tree) { tree_ = tree; }

  /// Writes what was published to a connection and waits: before anything else is written to it.
  void write_waiting(const SocketData *data) {
    if (data->subscriber) {
      write_waiting(data->subscriber.get());
    }
  }
  void write_waiting(uWS::Subscriber *subscriber) { tree_->drain(subscriber); }

  /// Writes what waits for any connection: at the end of a turn.
  void write_all() { tree_->drain(); }

 private:
  TopicTree *tree_ = nullptr;
};

}  // namespace nws
