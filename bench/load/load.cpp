#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

#include "process_cpu.h"

namespace load {

namespace {

constexpr std::uint64_t second = 1'000'000'000;
/// Connections that are being opened at once: fewer than any server's backlog (512 is usual).
constexpr std::uint32_t max_opening = 200;
/// Seconds without any progress after which a server is given up.
constexpr std::uint64_t patience = 20;
/// Events that are handled before the clock is looked at again.
constexpr std::size_t max_events = 64;

}  // namespace

std::uint64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * second + static_cast<std::uint64_t>(time.tv_nsec);
}

std::string upgrade_request(const Options &options, std::string_view path) {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: " + options.host + ":" + std::to_string(options.port) +
         "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
         "Sec-WebSocket-Version: 13\r\n" +
         (options.deflate ? std::string("Sec-WebSocket-Extensions: ") + deflate_offer + "\r\n" : "") + "\r\n";
}

Load::Load(const Options &options) : options_(options) {
  endpoint_.address.sin_family = AF_INET;
  endpoint_.address.sin_port = htons(options.port);
  if (inet_pton(AF_INET, options.host.c_str(), &endpoint_.address.sin_addr) != 1) {
    throw std::invalid_argument("--host must be a numeric IPv4 address");
  }
  if (options.tls) {
    tls_ = TlsClient::make_context(options.cipher_suite);
    endpoint_.tls = tls_.get();
  }
  if (options.deflate) {
    inflater_ = std::make_unique<Inflater>(options.size);
    endpoint_.inflater = inflater_.get();
  }
  endpoint_.epoll = epoll_create1(EPOLL_CLOEXEC);
}

Load::~Load() {
  channels_.clear();
  close(endpoint_.epoll);
}

Channel &Load::connect(std::uint32_t index, const std::string &request) {
  if (channels_.size() <= index) {
    channels_.resize(index + 1);
  }
  channels_[index] = std::make_unique<Channel>(index, endpoint_, request, *this);
  return *channels_[index];
}

void Load::open_all(std::uint32_t count, const std::function<const std::string &(std::uint32_t)> &request) {
  channels_.reserve(count);
  auto started = static_cast<std::uint32_t>(channels_.size());
  while (open_ < count) {
    while (started < count && started - open_ < max_opening) {
      connect(started, request(started));
      started++;
    }
    if (!poll(patience * second)) {
      throw std::runtime_error("the server does not accept: " + std::to_string(open_) + " of " + std::to_string(count) +
                               " are open");
    }
  }
}

bool Load::poll(std::uint64_t nanoseconds) {
  epoll_event events[max_events];
  timespec timeout{static_cast<time_t>(nanoseconds / second), static_cast<long>(nanoseconds % second)};
  int count = epoll_pwait2(endpoint_.epoll, events, std::size(events), &timeout, nullptr);
  if (count < 0 && errno != EINTR) {
    throw std::runtime_error(std::string("epoll_pwait2: ") + strerror(errno));
  }
  for (int i = 0; i < count; i++) {
    static_cast<Channel *>(events[i].data.ptr)->ready(events[i].events);
  }
  return count > 0;
}

void Load::run_for(double seconds, const std::function<void()> &step) {
  std::uint64_t end = now() + static_cast<std::uint64_t>(seconds * 1e9);
  for (std::uint64_t at = now(); at < end; at = now()) {
    poll(step ? 0 : std::min(end - at, longest_wait));
    if (step) {
      step();
    }
  }
}

void Load::measure(Figures &figures, const std::function<void()> &start, const std::function<void()> &step) {
  run_for(options_.warm_up, step);
  start();
  double server_before = options_.watched_process ? process_cpu_seconds(options_.watched_process) : -1;
  double own_before = own_cpu_seconds();
  std::uint64_t began = now();
  run_for(options_.seconds, step);
  figures.seconds = static_cast<double>(now() - began) / 1e9;
  figures.own_cpu = own_cpu_seconds() - own_before;
  if (server_before >= 0) {
    figures.server_cpu = process_cpu_seconds(options_.watched_process) - server_before;
  }
  if (inflater_) {
    figures.received_bytes = inflater_->mean_bytes();
  }
}

}  // namespace load
