#include "options.h"

#include <charconv>
#include <stdexcept>
#include <string_view>

namespace load {

const char *const usage =
    "usage: load MODE --port PORT [option ...]\n"
    "MODE: echo, fan-out, connect, idle\n"
    "  --host ADDRESS     numeric IPv4 address (127.0.0.1)\n"
    "  --tls              wss instead of ws\n"
    "  --ciphers NAME     the only TLS 1.3 cipher suite offered (TLS_AES_128_GCM_SHA256)\n"
    "  --connections N    connections; with fan-out subscribers (200)\n"
    "  --size BYTES       payload of a message (20)\n"
    "  --text             text messages instead of binary ones\n"
    "  --json             JSON messages, as text\n"
    "  --deflate          messages compressed, both ways (echo, fan-out)\n"
    "  --socket-io        text messages as events of socket.io (echo)\n"
    "  --whole            counts publications that have reached all (fan-out)\n"
    "  --depth N          messages on their way for each connection, with fan-out in all (1)\n"
    "  --warm-up SECONDS  before the measurement (0.3)\n"
    "  --seconds SECONDS  length of the measurement (1)\n"
    "  --rate N           messages per second in all, sent when due (echo; default: as fast as answers come)\n"
    "  --watch PID        report this process's CPU time\n";

namespace {

template <class T>
T number(std::string_view name, std::string_view text, T least, T most) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
    throw std::invalid_argument(std::string(name) + " must be a number from " + std::to_string(least) + " to " +
                                std::to_string(most) + ", got \"" + std::string(text) + "\"");
  }
  return value;
}

Mode mode_named(std::string_view name) {
  if (name == "echo") return Mode::echo;
  if (name == "fan-out") return Mode::fan_out;
  if (name == "connect") return Mode::connect;
  if (name == "idle") return Mode::idle;
  throw std::invalid_argument("unknown mode \"" + std::string(name) + "\"");
}

}  // namespace

Options parse_options(int count, char **arguments) {
  if (count < 2) {
    throw std::invalid_argument("a mode is missing");
  }
  Options options;
  options.mode = mode_named(arguments[1]);
  for (int i = 2; i < count; i++) {
    std::string_view name = arguments[i];
    if (name == "--tls") {
      options.tls = true;
      continue;
    }
    if (name == "--text") {
      options.content = Content::text;
      continue;
    }
    if (name == "--json") {
      options.content = Content::json;
      continue;
    }
    if (name == "--socket-io") {
      options.socket_io = true;
      options.content = Content::text;
      continue;
    }
    if (name == "--whole") {
      options.whole = true;
      continue;
    }
    if (name == "--deflate") {
      options.deflate = true;
      continue;
    }
    if (i + 1 == count) {
      throw std::invalid_argument(std::string(name) + " is unknown, or lacks its value");
    }
    std::string_view value = arguments[++i];
    if (name == "--host") {
      options.host = value;
    } else if (name == "--port") {
      options.port = static_cast<std::uint16_t>(number(name, value, 1, 65535));
    } else if (name == "--ciphers") {
      options.cipher_suite = value;
    } else if (name == "--connections") {
      options.connections = number<std::uint32_t>(name, value, 1, 1'000'000);
    } else if (name == "--size") {
      options.size = number<std::size_t>(name, value, 0, std::size_t{1} << 30);
    } else if (name == "--depth") {
      options.depth = number<std::uint32_t>(name, value, 1, 65536);
    } else if (name == "--warm-up") {
      options.warm_up = number(name, value, 0.0, 3600.0);
    } else if (name == "--seconds") {
      options.seconds = number(name, value, 0.01, 86400.0);
    } else if (name == "--rate") {
      options.rate = number(name, value, 1.0, 1e8);
    } else if (name == "--watch") {
      options.watched_process = number(name, value, 1, 1 << 30);
    } else {
      throw std::invalid_argument("unknown option " + std::string(name));
    }
  }
  if (options.port == 0) {
    throw std::invalid_argument("--port is missing");
  }
  if (options.socket_io && (options.mode != Mode::echo || options.content != Content::text || options.deflate)) {
    throw std::invalid_argument("--socket-io is for echo, with text, without compression");
  }
  return options;
}

}  // namespace load
