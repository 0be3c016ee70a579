// The two ends of a connection, as text and number.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "server/net/address_text.h"

namespace nws {

/// An end of a TCP connection; empty, with port 0, of a unix socket, and where the system does not tell.
struct Endpoint {
  std::string address;
  std::uint16_t port = 0;

  static Endpoint of(const sockaddr_storage &given) {
    auto text = [](const auto &bytes) { return address_text({reinterpret_cast<const char *>(&bytes), sizeof bytes}); };
    if (given.ss_family == AF_INET) {
      const auto &four = reinterpret_cast<const sockaddr_in &>(given);
      return {text(four.sin_addr), ntohs(four.sin_port)};
    }
    if (given.ss_family == AF_INET6) {
      const auto &six = reinterpret_cast<const sockaddr_in6 &>(given);
      return {text(six.sin6_addr), ntohs(six.sin6_port)};
    }
    return {};
  }
  static Endpoint local(int descriptor) { return asked(descriptor, getsockname); }
  static Endpoint remote(int descriptor) { return asked(descriptor, getpeername); }

 private:
  static Endpoint asked(int descriptor, int (*name)(int, sockaddr *, socklen_t *)) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    return name(descriptor, reinterpret_cast<sockaddr *>(&address), &length) ? Endpoint{} : of(address);
  }
};

}  // namespace nws
