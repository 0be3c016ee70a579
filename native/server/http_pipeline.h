// Lets a client send HTTP requests without waiting for the answers (RFC 9112, section 9.3.2). µWebSockets cuts a connection whose
// next request comes before the last one was answered, and ours are answered after its parser has returned. So this stands before
// the parser: it lets one request through at a time, and keeps what follows until the answer has been written.
//
// It gets there by taking the place of us_socket_context_on_data while µWebSockets' headers are compiled: the handler that
// HttpContext registers is remembered, and ours is registered in its stead. Include this before App.h, in the one file that
// instantiates the server.
#pragma once

#ifdef UWS_APP_H
#error "http_pipeline.h must be included before App.h"
#endif

#include <libusockets.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace nws {

/// What the requests on one HTTP connection have to wait behind.
class HttpPipeline {
 public:
  using OnData = us_socket_t *(*)(us_socket_t *, char *, int);

  /// What µWebSockets has registered on this thread, for plain connections or for TLS. The handlers are the same for every
  /// server.
  struct Registered {
    OnData http = nullptr;
    OnData websocket = nullptr;
    /// Of the server that was made last.
    us_socket_context_t *http_context = nullptr;
  };
  static Registered &registered(bool ssl) {
    static thread_local Registered of[2];
    return of[ssl];
  }

  /// Bytes that may wait behind a request. A client that sends more is cut.
  static constexpr std::size_t max_held = 64 * 1024;

  /// What one HTTP connection has to remember.
  struct Connection {
    /// What has come and is not done with: an incomplete head, or what came behind the request that is being answered.
    std::string held;
    /// So many of them the parser has seen already: it may find an incomplete head wrong.
    std::size_t parsed = 0;
    /// Bytes of that request's body that are still to come.
    std::uint64_t body_left = 0;
    /// What the PROXY header has told; empty without one.
    std::string proxied_address;
    /// A chunked body has come: only the parser can see where it ends, so from then on everything goes straight to it.
    bool transparent = false;
  };

  struct Request {
    /// Bytes up to and including the empty line; 0 when it has not come yet.
    std::size_t head = 0;
    std::uint64_t body = 0;
    bool is_chunked = false;
  };

  /// The first request in `bytes`. Whether it makes sense is for the parser to judge.
  static Request first_request(std::string_view bytes) {
    Request request;
    std::size_t end = bytes.find("\r\n\r\n");
    if (end == std::string_view::npos) {
      return request;
    }
    request.head = end + 4;
    std::string_view head = bytes.substr(0, end + 2);
    for (std::size_t line = head.find("\r\n") + 2; line < head.size(); line = head.find("\r\n", line) + 2) {
      std::size_t colon = head.find(':', line);
      if (colon == std::string_view::npos) {
        break;
      }
      std::string_view name = head.substr(line, colon - line);
      if (is(name, "content-length")) {
        request.body = std::strtoull(std::string(head.substr(colon + 1, 20)).c_str(), nullptr, 10);
      } else if (is(name, "transfer-encoding")) {
        request.is_chunked = true;
      }
    }
    return request;
  }

 private:
  static bool is(std::string_view name, std::string_view lower_case) {
    return name.size() == lower_case.size() && std::equal(name.begin(), name.end(), lower_case.begin(), [](char a, char b) {
             return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) == b;
           });
  }
};

/// A copy of some bytes, with the room around them that µWebSockets' parsers read and write.
class Padded {
 public:
  explicit Padded(std::string_view bytes) : length_(bytes.length()), memory_(LIBUS_RECV_BUFFER_PADDING, '\0') {
    memory_.append(bytes).append(LIBUS_RECV_BUFFER_PADDING, '\0');
  }
  char *data() { return memory_.data() + LIBUS_RECV_BUFFER_PADDING; }
  int length() const { return static_cast<int>(length_); }

 private:
  std::size_t length_;
  std::string memory_;
};

/// Defined in websocket_server.cpp: takes the data of an HTTP connection.
template <bool SSL>
us_socket_t *receive_http(us_socket_t *socket, char *data, int length);

/// Stands in for us_socket_context_on_data. The first handler of a kind is HttpContext's: it is there before any WebSocket.
inline void register_on_data(int ssl, us_socket_context_t *context, HttpPipeline::OnData handler) {
  HttpPipeline::Registered &registered = HttpPipeline::registered(ssl != 0);
  if (!registered.http || registered.http == handler) {
    registered.http = handler;
    registered.http_context = context;
    handler = ssl ? receive_http<true> : receive_http<false>;
  } else {
    registered.websocket = handler;
  }
  us_socket_context_on_data(ssl, context, handler);
}

}  // namespace nws

#define us_socket_context_on_data nws::register_on_data
