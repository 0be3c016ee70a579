// The limit: µWebSockets in C++ that does nothing but what is measured. Built on libuv, on which the addon
// runs too, and on µSockets' own epoll loop.
//
//   limit echo|echo-deflate|fan-out [KEY.pem CERT.pem]
//
// Listens on a free port of 127.0.0.1 and prints it.
#include <App.h>

#include <sys/resource.h>

#include <cstdio>
#include <string_view>

namespace {

/// Nothing is kept for a connection.
struct Nothing {};

/// As the peers are set: room for large messages, the usual idle timeout.
template <class Behavior>
Behavior behavior() {
  Behavior made;
  made.maxPayloadLength = 16 * 1024 * 1024;
  made.maxBackpressure = 16 * 1024 * 1024;
  made.idleTimeout = 120;
  return made;
}

template <class App>
int serve(App &&app, std::string_view mode) {
  using Behavior = typename App::template WebSocketBehavior<Nothing>;
  if (mode == "fan-out") {
    Behavior subscribe = behavior<Behavior>(), publish = behavior<Behavior>();
    subscribe.open = [](auto *ws) { ws->subscribe("all"); };
    publish.message = [&app](auto *, std::string_view message, uWS::OpCode op_code) { app.publish("all", message, op_code); };
    app.template ws<Nothing>("/subscribe", std::move(subscribe)).template ws<Nothing>("/publish", std::move(publish));
  } else {
    Behavior echo = behavior<Behavior>();
    echo.open = [](auto *) {};
    if (mode == "echo-deflate") {
      echo.compression = uWS::CompressOptions(uWS::SHARED_COMPRESSOR | uWS::SHARED_DECOMPRESSOR);
      echo.message = [](auto *ws, std::string_view message, uWS::OpCode op_code) { ws->send(message, op_code, true); };
    } else {
      echo.message = [](auto *ws, std::string_view message, uWS::OpCode op_code) { ws->send(message, op_code); };
    }
    app.template ws<Nothing>("/*", std::move(echo));
  }
  app.listen("127.0.0.1", 0, [](us_listen_socket_t *socket) {
    if (socket) {
      std::printf("%d\n", us_socket_local_port(0, reinterpret_cast<us_socket_t *>(socket)));
      std::fflush(stdout);
    }
  });
  app.run();
  return 1;  // the loop ends only when it could not listen
}

}  // namespace

int main(int count, char **arguments) {
  std::string_view mode = count > 1 ? arguments[1] : "";
  if ((count != 2 && count != 4) || (mode != "echo" && mode != "echo-deflate" && mode != "fan-out")) {
    std::fprintf(stderr, "usage: %s echo|echo-deflate|fan-out [KEY.pem CERT.pem]\n", arguments[0]);
    return 2;
  }
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  if (count == 4) {
    return serve(uWS::SSLApp({.key_file_name = arguments[2], .cert_file_name = arguments[3]}), mode);
  }
  return serve(uWS::App(), mode);
}
