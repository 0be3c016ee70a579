// A client that loads a WebSocket server, checks what it answers, and prints what that took as one line of
// JSON.
#include <sys/resource.h>

#include <cstdio>
#include <exception>
#include <stdexcept>

#include "load.h"

namespace {

/// Each connection takes a descriptor.
void raise_descriptor_limit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

void print(const load::Figures &figures) {
  auto microseconds = [](double nanoseconds) { return nanoseconds / 1000; };
  auto quantile = [&](double share) { return microseconds(static_cast<double>(figures.latency.quantile(share))); };
  std::printf("{\"unit\":\"%s\",\"count\":%llu,\"seconds\":%.6f,\"perSecond\":%.1f,\"generatorCpuSeconds\":%.6f,",
              figures.unit.c_str(), static_cast<unsigned long long>(figures.count), figures.seconds,
              figures.seconds > 0 ? static_cast<double>(figures.count) / figures.seconds : 0, figures.own_cpu);
  if (figures.server_cpu >= 0) {
    std::printf("\"serverCpuSeconds\":%.6f,", figures.server_cpu);
  }
  if (figures.lateness.count() > 0) {
    std::printf("\"latenessMicroseconds\":{\"p50\":%.2f,\"p99\":%.2f},",
                microseconds(static_cast<double>(figures.lateness.quantile(0.5))),
                microseconds(static_cast<double>(figures.lateness.quantile(0.99))));
  }
  if (figures.received_bytes > 0) {
    std::printf("\"bytesPerMessage\":{\"sent\":%zu,\"received\":%.1f},", figures.sent_bytes, figures.received_bytes);
  }
  std::printf(
      "\"notSent\":%llu,\"latencyMicroseconds\":{\"mean\":%.2f,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p99.9\":%.2f,"
      "\"max\":%.2f}}\n",
      static_cast<unsigned long long>(figures.not_sent), microseconds(figures.latency.mean()), quantile(0.5), quantile(0.9),
      quantile(0.99), quantile(0.999), microseconds(static_cast<double>(figures.latency.max())));
}

std::unique_ptr<load::Load> make(const load::Options &options) {
  switch (options.mode) {
    case load::Mode::echo:
      return make_echo_load(options);
    case load::Mode::fan_out:
      return make_fan_out_load(options);
    case load::Mode::connect:
      return make_connect_load(options);
    case load::Mode::idle:
      return make_idle_load(options);
  }
  return nullptr;
}

}  // namespace

int main(int count, char **arguments) {
  try {
    load::Options options = load::parse_options(count, arguments);
    raise_descriptor_limit();
    print(make(options)->run());
    return 0;
  } catch (const std::invalid_argument &error) {
    std::fprintf(stderr, "%s\n\n%s", error.what(), load::usage);
    return 2;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
