// The limit: µWebSockets in C++ that does nothing but what is measured. Built on libuv, on which the addon runs too, and on
// µSockets' own epoll loop.
//
//   limit echo|fan-out [KEY.pem CERT.pem]
//
// Listens on a free port of 127.0.0.1 and prints it.
#include <App.h>

#include <sys/resource.h>

#include <cstdio>
#include <cstring>

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
int serve(App &&app, bool fan_out) {
  using Behavior = typename App::template WebSocketBehavior<Nothing>;
  if (fan_out) {
    Behavior subscribe = behavior<Behavior>(), publish = behavior<Behavior>();
    subscribe.open = [](auto *ws) { ws->subscribe("all"); };
    publish.message = [&app](auto *, std::string_view message, uWS::OpCode op_code) { app.publish("all", message, op_code); };
    app.template ws<Nothing>("/subscribe", std::move(subscribe)).template ws<Nothing>("/publish", std::move(publish));
  } else {
    Behavior echo = behavior<Behavior>();
    echo.open = [](auto *) {};
    echo.message = [](auto *ws, std::string_view message, uWS::OpCode op_code) { ws->send(message, op_code); };
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
  bool fan_out = count > 1 && std::strcmp(arguments[1], "fan-out") == 0;
  if ((count != 2 && count != 4) || (!fan_out && std::strcmp(arguments[1], "echo") != 0)) {
    std::fprintf(stderr, "usage: %s echo|fan-out [KEY.pem CERT.pem]\n", arguments[0]);
    return 2;
  }
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  if (count == 4) {
    return serve(uWS::SSLApp({.key_file_name = arguments[2], .cert_file_name = arguments[3]}), fan_out);
  }
  return serve(uWS::App(), fan_out);
}
