// One connection publishes; every other one checks that it gets each message, byte for byte and in order.
#include <stdexcept>

#include "load.h"

namespace load {

namespace {

class FanOutLoad final : public Load {
 public:
  explicit FanOutLoad(const Options &options) : Load(options), pattern_(options), publications_(options.depth) {}

  Figures run() override {
    Figures figures;
    figures.unit = options_.whole ? "publications" : "deliveries";
    // The publisher connects last: by then all others have subscribed.
    std::string subscribe = upgrade_request(options_, "/subscribe"), publish = upgrade_request(options_, "/publish");
    open_all(options_.connections, [&](std::uint32_t) -> const std::string & { return subscribe; });
    open_all(options_.connections + 1,
             [&](std::uint32_t index) -> const std::string & { return index == options_.connections ? publish : subscribe; });
    publisher_ = channels_.back().get();
    for (std::uint32_t i = 0; i < options_.depth; i++) {
      publish_next();
    }
    publisher_->flush();
    measure(figures, [&] { measuring_ = true; });
    measuring_ = false;
    figures.count = latency_.count();
    figures.latency = std::move(latency_);
    figures.sent_bytes = pattern_.sent_size();
    finish();
    return figures;
  }

 private:
  struct Publication {
    std::uint64_t at = 0;
    std::uint32_t delivered = 0;
  };

  void publish_next() {
    std::uint32_t number = publisher_->next_sent++;
    publications_[number % options_.depth] = {now(), 0};
    publisher_->queue(pattern_, number);
  }

  bool on_payload(Channel &channel, std::size_t offset, std::string_view piece) override {
    return publisher_ && &channel != publisher_ && channel.next_received != publisher_->next_sent &&
           pattern_.matches(channel.next_received, offset, piece);
  }

  bool on_message(Channel &channel, int op_code, std::size_t length) override {
    if (!publisher_ || &channel == publisher_ || op_code != pattern_.op_code() || length != pattern_.size() ||
        channel.next_received == publisher_->next_sent) {
      return false;
    }
    Publication &publication = publications_[channel.next_received++ % options_.depth];
    bool is_last = ++publication.delivered == options_.connections;
    if (measuring_ && (is_last || !options_.whole)) {
      latency_.record(now() - publication.at);
    }
    if (is_last) {
      completed_++;
      if (!finishing_) {
        publish_next();
        publisher_->flush();
      }
    }
    return true;
  }

  void finish() {
    finishing_ = true;
    std::uint64_t end = now() + 10'000'000'000;
    while (completed_ != publisher_->next_sent) {
      poll(100'000'000);
      if (now() > end) {
        throw std::runtime_error("publications were not delivered to all subscribers within 10 seconds");
      }
    }
  }

  MessagePattern pattern_;
  std::vector<Publication> publications_;
  Channel *publisher_ = nullptr;
  std::uint32_t completed_ = 0;
  Histogram latency_;
  bool measuring_ = false;
  bool finishing_ = false;
};

}  // namespace

std::unique_ptr<Load> make_fan_out_load(const Options &options) { return std::make_unique<FanOutLoad>(options); }

}  // namespace load
