// Opens connections and holds them, until the standard input ends. The line "open" says that all of them are.
#include <poll.h>
#include <unistd.h>

#include <cstdio>

#include "load.h"

namespace load {

namespace {

class IdleLoad final : public Load {
 public:
  using Load::Load;

  Figures run() override {
    Figures figures;
    figures.unit = "connections";
    std::uint64_t began = now();
    std::string request = upgrade_request(options_, "/");
    open_all(options_.connections, [&](std::uint32_t) -> const std::string & { return request; });
    std::puts("open");
    std::fflush(stdout);
    while (!input_has_ended()) {
      run_for(0.1);
    }
    figures.count = open_;
    figures.seconds = static_cast<double>(now() - began) / 1e9;
    return figures;
  }

 private:
  static bool input_has_ended() {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    char ignored[64];
    return ::poll(&input, 1, 0) > 0 && read(STDIN_FILENO, ignored, sizeof ignored) <= 0;
  }
};

}  // namespace

std::unique_ptr<Load> make_idle_load(const Options &options) { return std::make_unique<IdleLoad>(options); }

}  // namespace load
