// Every connection sends messages and checks that they come back, byte for byte and in order.
#include <stdexcept>

#include "load.h"
#include "socket_io.h"

namespace load {

namespace {

class EchoLoad final : public Load {
 public:
  explicit EchoLoad(const Options &options)
      : Load(options),
        pattern_(options),
        // With a rate, answers may be late for as long as this many messages; without one, `depth` is the
        // limit.
        window_(options.rate > 0 ? 1024 : options.depth),
        sent_at_(static_cast<std::size_t>(options.connections) * window_),
        greetings_(options.socket_io ? options.connections : 0) {}

  Figures run() override {
    Figures figures;
    figures.unit = "messages";
    std::string request = upgrade_request(options_, options_.socket_io ? socket_io::path : "/");
    open_all(options_.connections, [&](std::uint32_t) -> const std::string & { return request; });
    std::function<void()> step;
    if (options_.rate > 0) {
      due_ = static_cast<double>(now());
      step = [&] { send_due(); };
    } else {
      std::uint64_t at = now();
      for (auto &channel : channels_) {
        for (std::uint32_t i = 0; i < options_.depth; i++) {
          send(*channel, at);
        }
        channel->flush();
      }
    }
    measure(
        figures,
        [&] {
          measuring_ = true;
          not_sent_ = 0;
        },
        step);
    measuring_ = false;
    figures.count = latency_.count();
    figures.not_sent = not_sent_;
    figures.latency = std::move(latency_);
    figures.sent_bytes = pattern_.sent_size();
    figures.lateness = std::move(lateness_);
    finish();
    return figures;
  }

 private:
  struct Greeting {
    std::string text;
    bool complete = false;
  };

  /// Differs between neighbours, so that no connection's messages pass for another's.
  std::uint32_t sequence(const Channel &channel, std::uint32_t number) const { return channel.index() * 0x9e3779b1u + number; }

  void send(Channel &channel, std::uint64_t at) {
    std::uint32_t number = channel.next_sent++;
    sent_at_[static_cast<std::size_t>(channel.index()) * window_ + number % window_] = at;
    channel.queue(pattern_, sequence(channel, number));
  }

  /// Sends what is due by now, with the moment at which it was due as its start: a server that stalls is
  /// charged for the wait.
  void send_due() {
    double interval = 1e9 / options_.rate;
    auto at = static_cast<double>(now());
    for (; due_ <= at; due_ += interval) {
      Channel &channel = *channels_[turn_];
      turn_ = (turn_ + 1) % channels_.size();
      if (channel.next_sent - channel.next_received == window_) {
        not_sent_++;
        continue;
      }
      if (measuring_) {
        lateness_.record(now() - static_cast<std::uint64_t>(due_));
      }
      send(channel, static_cast<std::uint64_t>(due_));
      channel.flush();
    }
  }

  void on_open(Channel &channel) override {
    if (!options_.socket_io) {
      Load::on_open(channel);
    }
  }

  /// socket.io has a handshake of its own, and the connection is open when that is complete.
  bool greet(Channel &channel, Greeting &greeting) {
    std::string text;
    text.swap(greeting.text);
    if (text.starts_with(socket_io::opened)) {
      channel.queue_short(1, socket_io::connect);
      channel.flush();
      return true;
    }
    greeting.complete = true;
    Load::on_open(channel);
    return text.starts_with(socket_io::connect);
  }

  bool on_payload(Channel &channel, std::size_t offset, std::string_view piece) override {
    if (options_.socket_io && !greetings_[channel.index()].complete) {
      greetings_[channel.index()].text.append(piece);
      return true;
    }
    return channel.next_received != channel.next_sent &&
           pattern_.matches(sequence(channel, channel.next_received), offset, piece);
  }

  bool on_message(Channel &channel, int op_code, std::size_t length) override {
    if (options_.socket_io && !greetings_[channel.index()].complete) {
      return greet(channel, greetings_[channel.index()]);
    }
    if (op_code != pattern_.op_code() || length != pattern_.size() || channel.next_received == channel.next_sent) {
      return false;
    }
    std::uint64_t at = now();
    std::uint32_t number = channel.next_received++;
    if (measuring_) {
      latency_.record(at - sent_at_[static_cast<std::size_t>(channel.index()) * window_ + number % window_]);
    }
    if (options_.rate == 0 && !finishing_) {
      send(channel, at);
      channel.flush();
    }
    return true;
  }

  /// Waits for the answers that are still missing: a lost message is an error too.
  void finish() {
    finishing_ = true;
    std::uint64_t end = now() + 10'000'000'000;
    for (auto &channel : channels_) {
      while (channel->next_received != channel->next_sent) {
        poll(100'000'000);
        if (now() > end) {
          throw std::runtime_error("messages were not answered within 10 seconds");
        }
      }
    }
  }

  MessagePattern pattern_;
  std::uint32_t window_;
  std::vector<std::uint64_t> sent_at_;
  std::vector<Greeting> greetings_;
  Histogram latency_;
  /// How long after they were due messages were sent: our own part of the latency.
  Histogram lateness_;
  std::uint64_t not_sent_ = 0;
  double due_ = 0;
  std::size_t turn_ = 0;
  bool measuring_ = false;
  bool finishing_ = false;
};

}  // namespace

std::unique_ptr<Load> make_echo_load(const Options &options) { return std::make_unique<EchoLoad>(options); }

}  // namespace load
