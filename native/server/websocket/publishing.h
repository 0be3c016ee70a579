// Topics, their subscribers, and what is published to them: the part of a server that knows µWebSockets'
// topic tree.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/counters.h"
#include "server/uws/private_members.h"
#include "server/uws/upstream.h"
#include "server/websocket/buffered_amount.h"
#include "server/websocket/compressed_publish_cache.h"
#include "server/websocket/compressed_sending.h"
#include "server/websocket/connection_table.h"
#include "server/websocket/frames.h"
#include "server/websocket/publish_order.h"
#include "server/websocket/topics.h"
#include "server/websocket_server.h"

namespace nws {

inline void SubscriberDeleter::operator()(uWS::Subscriber *subscriber) const { tree->freeSubscriber(subscriber); }

/// Lives on its loop's thread. The caller knows that a WebSocket is open.
template <bool SSL>
class Publishing final : public Topics {
  using WebSocket = frames::WebSocket<SSL>;

 public:
  Publishing(ConnectionTable &connections, ServerEvents &events, Counters &counters, SharedCompression &compression,
             PublishOrder &order)
      : connections_(connections), events_(events), counters_(counters), order_(order), compressed_(compression) {}

  /// Makes the tree, which its user deletes. Our own, rather than the one that App makes: so that we know
  /// when a subscriber's queue has grown, and so that nothing is left in µWebSockets' lists of loop handlers,
  /// which must not change while they run.
  TopicTree *make_tree() {
    tree_ = new TopicTree([this](uWS::Subscriber *subscriber, uWS::TopicTreeMessage &message, TopicTree::IteratorFlags flags) {
      return deliver(subscriber, message, flags);
    });
    order_.set_tree(tree_);
    return tree_;
  }

  bool subscribe(WebSocket *ws, std::string_view topic) {
    SocketData *data = ws->getUserData();
    if (data->has_sent_close()) {
      return false;
    }
    if (!data->subscriber) {
      data->subscriber = {tree_->createSubscriber(), SubscriberDeleter{tree_}};
      data->subscriber->user = ws;
    }
    return tree_->subscribe(data->subscriber.get(), topic) != nullptr;
  }

  bool unsubscribe(WebSocket *ws, std::string_view topic) {
    SocketData *data = ws->getUserData();
    return data->subscriber && std::get<0>(tree_->unsubscribe(data->subscriber.get(), topic));
  }

  bool is_subscribed(WebSocket *ws, std::string_view name) {
    SocketData *data = ws->getUserData();
    uWS::Topic *topic = data->subscriber ? tree_->lookupTopic(name) : nullptr;
    return topic && topic->count(data->subscriber.get()) != 0;
  }

  std::vector<std::string_view> topics(WebSocket *ws) {
    std::vector<std::string_view> names;
    if (SocketData *data = ws->getUserData(); data->subscriber) {
      for (uWS::Topic *topic : data->subscriber->topics) {
        names.emplace_back(topic->name);
      }
    }
    return names;
  }

  bool publish(std::string_view name, std::string_view payload, OpCode op_code, ConnectionId except, Compress compress) override {
    uWS::Topic *topic = tree_->lookupTopic(name);
    if (!topic) {
      return false;
    }
    uWS::Subscriber *sender = nullptr;
    if (auto *entry = connections_.find(except)) {
      sender = static_cast<WebSocket *>(entry->socket)->getUserData()->subscriber.get();
    }
    if (topic->size() == (sender ? topic->count(sender) : 0)) {
      return false;
    }
    int packed = Publication{op_code, compress, next_number()}.pack();
    if (payload.length() < uWS::LoopData::CORK_BUFFER_SIZE) {
      return tree_->publish(sender, name, {frames::whole_frame(payload, op_code), packed, false});
    }
    // Too long to be copied for later: to every subscriber now, each after what was published to it before.
    return tree_->publishBig(sender, name, {payload, packed, false},
                             [this](uWS::Subscriber *subscriber, uWS::TopicTreeBigMessage &message) {
                               order_.write_waiting(subscriber);
                               send_published(subscriber, {}, message.message, message.opCode);
                             });
  }

  std::size_t subscribers(std::string_view name) override {
    uWS::Topic *topic = tree_->lookupTopic(name);
    return topic ? topic->size() : 0;
  }

  /// Writes what was published since the last time, to every subscriber.
  void flush() override {
    order_.write_all();
    compressed_.clear();
  }

 private:
  /// What the tree keeps of a published message beside its payload, in the place of an op code.
  struct Publication {
    OpCode op_code;
    Compress compress;
    /// Tells those apart that wait to be sent.
    std::uint32_t number;

    static constexpr int op_code_bits = 4, compress_bits = 2, number_bits = 25;

    int pack() const {
      return static_cast<int>(number << (op_code_bits + compress_bits) | static_cast<unsigned>(compress) << op_code_bits |
                              static_cast<unsigned>(op_code));
    }
    static Publication unpack(int packed) {
      auto bits = static_cast<std::uint32_t>(packed);
      return {static_cast<OpCode>(bits & ((1 << op_code_bits) - 1)),
              static_cast<Compress>((bits >> op_code_bits) & ((1 << compress_bits) - 1)), bits >> (op_code_bits + compress_bits)};
    }
  };

  std::uint32_t next_number() {
    last_number_ = (last_number_ + 1) & ((1u << Publication::number_bits) - 1);
    if (last_number_ == 0) {
      flush();  // from here on the numbers are used again
    }
    return last_number_;
  }

  /// `frame` is the payload in a frame, or empty where that was not made. False when the subscriber's queue
  /// is full.
  bool send_published(uWS::Subscriber *subscriber, std::string_view frame, std::string_view payload, int packed) {
    auto *ws = static_cast<WebSocket *>(subscriber->user);
    SocketData *data = ws->getUserData();
    auto [op_code, compress, number] = Publication::unpack(packed);
    std::uint32_t waiting = buffered_amount<SSL>(ws, data);
    if (!connections_.quota(data->id).has_room_for_published(waiting, payload.length())) {
      counters_.publishes_dropped++;
      if (data->route->options.report_drops && !data->has_sent_close()) {
        events_.on_dropped(*data, payload, op_code == OpCode::binary, number);
      }
      return false;
    }
    counters_.sent(payload.length());
    if (data->held) {
      data->held->add(payload, op_code, compress, false);
      note_buffered<SSL>(ws, data, connections_);
      return true;
    }
    TlsWriteDeferral guard(data->waits, reinterpret_cast<us_socket_t *>(ws));
    Compression *compression = data->compression.get();
    if (compression && compression->wants(payload.length(), compress)) {
      auto window = compression->shared_window();
      auto form = window ? compressed_.find(number, *window, payload) : compression->compress(payload);
      std::size_t length = frames::send_compressed<SSL>(ws, payload, form, op_code);
      connections_.quota(data->id).note_frame(length);
      compression->shared().deflated.trim();
    } else {
      auto *corkable = frames::Corkable<SSL>::of(ws);
      if (waiting == 0 && !frame.empty() && !corkable->isCorked()) {
        corkable->write(frame.data(), static_cast<int>(frame.length()));
      } else {
        ws->send(payload, frames::upstream(op_code));
      }
      connections_.quota(data->id).note_frame(payload.length());
    }
    note_buffered<SSL>(ws, data, connections_);
    return true;
  }

  /// The tree hands over a subscriber's messages one by one, marking the first and the last. True would stop
  /// it short.
  bool deliver(uWS::Subscriber *subscriber, uWS::TopicTreeMessage &message, TopicTree::IteratorFlags flags) {
    fetch_ahead(*subscriber);
    auto *ws = static_cast<WebSocket *>(subscriber->user);
    auto *corkable = frames::Corkable<SSL>::of(ws);
    bool first = flags & TopicTree::FIRST;
    bool last = flags & TopicTree::LAST;
    if (first && !last && corkable->canCork()) {
      corkable->cork();
      corked_by_delivery_ = true;
    }
    send_published(subscriber, message.message, frames::payload_of(message.message), message.opCode);
    if (last && corked_by_delivery_) {
      corked_by_delivery_ = false;
      corkable->uncork();
      note_buffered<SSL>(ws, ws->getUserData(), connections_);
    }
    return false;
  }

  /// Has the memory of the next three subscribers brought near, a step for each, since one step finds where
  /// the next one looks. The kernel's part of a write drives it out of the caches.
  void fetch_ahead(const uWS::Subscriber &subscriber) {
    const uWS::Subscriber *next = frames::next_subscriber(subscriber);
    if (!next) {
      return;
    }
    __builtin_prefetch(&connections_.quota(socket_of(*next)->getUserData()->id), 1);
    if (!(next = frames::next_subscriber(*next))) {
      return;
    }
    fetch(socket_of(*next), socket_of(*next)->getUserData() + 1);
    if ((next = frames::next_subscriber(*next))) {
      fetch(next, next + 1);
    }
  }
  static void fetch(const void *begin, const void *end) {
    constexpr std::size_t cache_line = 64;
    for (auto *line = static_cast<const char *>(begin); line < end; line += cache_line) {
      __builtin_prefetch(line, 1);
    }
  }
  static WebSocket *socket_of(const uWS::Subscriber &subscriber) { return static_cast<WebSocket *>(subscriber.user); }

  ConnectionTable &connections_;
  ServerEvents &events_;
  Counters &counters_;
  PublishOrder &order_;
  TopicTree *tree_ = nullptr;
  bool corked_by_delivery_ = false;
  CompressedPublishCache compressed_;
  std::uint32_t last_number_ = 0;
};

}  // namespace nws
