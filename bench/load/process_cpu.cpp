#include "process_cpu.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace load {

namespace {

/// From the threads that run now. A server's threads live as long as it does.
double from_schedstat(const std::string &folder) {
  double nanoseconds = 0;
  std::error_code error;
  for (const auto &thread : std::filesystem::directory_iterator(folder + "/task", error)) {
    std::ifstream file(thread.path() / "schedstat");
    double on_cpu = 0;
    if (!(file >> on_cpu)) {
      return -1;
    }
    nanoseconds += on_cpu;
  }
  return error || nanoseconds == 0 ? -1 : nanoseconds / 1e9;
}

double from_stat(const std::string &folder) {
  std::ifstream file(folder + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  // The second field is the name in parentheses, and may contain anything; user and system time are the 12th
  // and 13th after it.
  auto name_end = text.rfind(')');
  if (name_end == std::string::npos) {
    return -1;
  }
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int i = 0; i < 11; i++) {
    fields >> skipped;
  }
  double user = 0, system = 0;
  if (!(fields >> user >> system)) {
    return -1;
  }
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

double process_cpu_seconds(int process) {
  std::string folder = "/proc/" + std::to_string(process);
  double seconds = from_schedstat(folder);
  return seconds >= 0 ? seconds : from_stat(folder);
}

double own_cpu_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval &time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace load
