// What all modes have in common: the connections, the event loop, the clock and the figures.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "channel.h"
#include "histogram.h"
#include "options.h"

namespace load {

/// Nanoseconds of the monotonic clock.
std::uint64_t now();

/// What one run has found. Written as JSON to the standard output.
struct Figures {
  /// What `count` counts: messages, deliveries, publications or handshakes.
  std::string unit;
  std::uint64_t count = 0;
  double seconds = 0;
  /// CPU seconds during the measurement; negative when unknown.
  double own_cpu = 0;
  double server_cpu = -1;
  /// Messages that were due (`--rate`) but could not be sent, because too many answers were missing.
  std::uint64_t not_sent = 0;
  Histogram latency;
  /// With `--rate`: how long after they were due messages were sent.
  Histogram lateness;
  /// With `--deflate`: bytes of a message as it was sent, and of an answer on average.
  std::size_t sent_bytes = 0;
  double received_bytes = 0;
};

class Load : public ChannelEvents {
 public:
  explicit Load(const Options &options);
  virtual ~Load();

  /// Does all of it. Throws std::runtime_error when the server answers anything but what it should.
  virtual Figures run() = 0;

 protected:
  bool on_payload(Channel &, std::size_t, std::string_view) override { return false; }
  bool on_message(Channel &, int, std::size_t) override { return false; }

  Channel &connect(std::uint32_t index, const std::string &request);
  /// Opens connections, a limited number at a time, until `count` are open.
  void open_all(std::uint32_t count, const std::function<const std::string &(std::uint32_t)> &request);
  /// Nanoseconds that the loop waits at most, so that it sees the time pass.
  static constexpr std::uint64_t longest_wait = 100'000'000;
  /// Waits for events, at most `nanoseconds`, and lets the channels handle them. False when there were none.
  bool poll(std::uint64_t nanoseconds);
  /// Runs the loop for some seconds. With a `step`, which is called after each turn, it never sleeps: on a
  /// virtual machine being woken takes tens of microseconds and costs both sides more than a message does.
  void run_for(double seconds, const std::function<void()> &step = {});
  /// Runs the loop for `warm_up`, then measures for `seconds`, in between which `start` is called.
  void measure(Figures &figures, const std::function<void()> &start, const std::function<void()> &step = {});

  void on_open(Channel &) override { open_++; }

  const Options &options_;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::uint32_t open_ = 0;

 private:
  std::shared_ptr<SSL_CTX> tls_;
  std::unique_ptr<Inflater> inflater_;
  Endpoint endpoint_;
};

/// The text of an upgrade request.
std::string upgrade_request(const Options &options, std::string_view path);

std::unique_ptr<Load> make_echo_load(const Options &options);
std::unique_ptr<Load> make_fan_out_load(const Options &options);
std::unique_ptr<Load> make_connect_load(const Options &options);
std::unique_ptr<Load> make_idle_load(const Options &options);

}  // namespace load
