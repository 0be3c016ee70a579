// Opens connections, and resets each as soon as its handshake is complete. A TLS session is never resumed.
#include "load.h"

namespace load {

namespace {

class ConnectLoad final : public Load {
 public:
  explicit ConnectLoad(const Options &options) : Load(options), started_at_(options.connections) {}

  Figures run() override {
    Figures figures;
    figures.unit = "handshakes";
    for (std::uint32_t i = 0; i < options_.connections; i++) {
      start(i);
    }
    measure(
        figures, [&] { measuring_ = true; }, [&] { return restart(); });
    figures.count = latency_.count();
    figures.latency = std::move(latency_);
    return figures;
  }

 private:
  void start(std::uint32_t index) {
    started_at_[index] = now();
    connect(index, request_);
  }

  void on_open(Channel &channel) override {
    if (measuring_) {
      latency_.record(now() - started_at_[channel.index()]);
    }
    opened_.push_back(channel.index());
  }

  /// Not inside on_open, which the channel itself calls.
  std::uint64_t restart() {
    for (std::uint32_t index : opened_) {
      channels_[index]->reset_on_close();
      start(index);
    }
    opened_.clear();
    return longest_wait;
  }

  const std::string request_ = upgrade_request(options_, "/");
  std::vector<std::uint64_t> started_at_;
  std::vector<std::uint32_t> opened_;
  Histogram latency_;
  bool measuring_ = false;
};

}  // namespace

std::unique_ptr<Load> make_connect_load(const Options &options) { return std::make_unique<ConnectLoad>(options); }

}  // namespace load
